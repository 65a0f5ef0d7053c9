// The maps as lbd sees them: arrays as memory, hashes as typed look-ups. Owns descriptors and
// mappings; what the bytes mean is table.h's business.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bpf/lb_abi.h"

namespace lb::bpf {

// Limits of the maps, from [dataplane] of the configuration.
struct Sizes {
  std::uint32_t max_services = 16384;
  std::uint32_t max_backends = 131072;
  std::uint32_t max_slots = 1048576;

  bool operator==(const Sizes&) const = default;
  [[nodiscard]] std::uint32_t lines() const { return max_backends + 1; }  // id 0 is never used
  // A service needs a key per address: 127.0.0.1 has its alias, and 0.0.0.0 one per local address.
  [[nodiscard]] std::uint32_t max_keys() const { return max_services * 4; }
};

// A BPF_F_MMAPABLE array as a span. Plain stores and atomics on it are seen by the programs at once.
template <class T>
class MappedArray {
  static_assert(std::has_unique_object_representations_v<T>, "implicit padding");
  static_assert(sizeof(T) % 8 == 0, "the kernel rounds the stride of values up to 8 bytes");

 public:
  [[nodiscard]] static Result<MappedArray> map(const UniqueFd& fd, std::uint32_t entries);
  MappedArray(MappedArray&& other) noexcept : data_(std::exchange(other.data_, {})) {}
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~MappedArray();

  [[nodiscard]] std::span<T> all() const { return data_; }
  [[nodiscard]] T& operator[](std::uint32_t i) const { return data_[i]; }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(data_.size()); }

 private:
  explicit MappedArray(std::span<T> data) : data_(data) {}
  std::span<T> data_;
};

// lb_addr -> u32.
class AddressMap {
 public:
  AddressMap(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  [[nodiscard]] std::optional<std::uint32_t> find(const lb_addr& key) const;
  // EEXIST when the key is there: existing keys are never updated in place (lb_maps.h says why).
  // E2BIG when the map is full.
  [[nodiscard]] Result<> insert(const lb_addr& key, std::uint32_t value) const;
  // Removing the absent succeeds.
  [[nodiscard]] Result<> erase(const lb_addr& key) const;
  [[nodiscard]] Result<> for_each(
      const std::function<void(const lb_addr&, std::uint32_t)>& visit) const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string name_;
};

// Everything that holds state. The two socket storages and the program arrays need no access.
struct Maps {
  AddressMap service_ids;
  MappedArray<lb_service> services;
  MappedArray<std::uint64_t> slots;
  MappedArray<lb_backend> backends;
  MappedArray<lb_backend_cold> cold;
  AddressMap address_ids;
  MappedArray<lb_control> control;
  // LB_PORT_WORD; none where a former lbd had none.
  std::optional<MappedArray<std::uint64_t>> service_ports;
};

// Sets the bit of each key of service_ids; true: one was missing. The hooks look at it before they look at the keys.
[[nodiscard]] Result<bool> mark_ports(const Maps& maps);

// An lbd that does not know LB_SET_LINES may have given that part of the slots to others: such sets lose it until
// they are written again.
void forget_foreign_lines(const Maps& maps);

// Waits until no program that runs now is running any more: an RCU grace period, some 10 ms.
[[nodiscard]] Result<> wait_for_grace_period();

}  // namespace lb::bpf
