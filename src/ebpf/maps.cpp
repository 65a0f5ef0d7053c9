#include "ebpf/maps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace lb::bpf {

template <class T>
Result<MappedArray<T>> MappedArray<T>::map(const UniqueFd& fd, std::uint32_t entries) {
  const std::size_t bytes = std::size_t{entries} * sizeof(T);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return fail(errno, fmt::format("mmap a BPF array of {} bytes", bytes));
  return MappedArray(std::span<T>(static_cast<T*>(at), entries));
}

template <class T>
MappedArray<T>::~MappedArray() {
  if (!data_.empty()) ::munmap(data_.data(), data_.size_bytes());
}

template class MappedArray<lb_service>;
template class MappedArray<std::uint64_t>;
template class MappedArray<lb_backend>;
template class MappedArray<lb_backend_cold>;
template class MappedArray<lb_control>;

std::optional<std::uint32_t> AddressMap::find(const lb_addr& key) const {
  std::uint32_t value = 0;
  if (::bpf_map_lookup_elem(fd_.get(), &key, &value) != 0) return std::nullopt;
  return value;
}

Result<> AddressMap::insert(const lb_addr& key, std::uint32_t value) const {
  if (::bpf_map_update_elem(fd_.get(), &key, &value, BPF_NOEXIST) != 0)
    return fail(errno, fmt::format("add to BPF map {}", name_));
  return {};
}

Result<> AddressMap::erase(const lb_addr& key) const {
  if (::bpf_map_delete_elem(fd_.get(), &key) != 0 && errno != ENOENT)
    return fail(errno, fmt::format("remove from BPF map {}", name_));
  return {};
}

Result<> AddressMap::for_each(
    const std::function<void(const lb_addr&, std::uint32_t)>& visit) const {
  // One batch call per thousand: a walk by get_next_key restarts when its key goes away.
  constexpr std::uint32_t kBatch = 1024;
  std::vector<lb_addr> keys(kBatch);
  std::vector<std::uint32_t> values(kBatch);
  std::uint32_t position = 0;
  for (bool first = true;; first = false) {
    std::uint32_t count = kBatch;
    const int rc = ::bpf_map_lookup_batch(fd_.get(), first ? nullptr : &position, &position,
                                          keys.data(), values.data(), &count, nullptr);
    const int err = errno;
    if (rc != 0 && err != ENOENT) return fail(err, fmt::format("read BPF map {}", name_));
    for (std::uint32_t i = 0; i < count; ++i) visit(keys[i], values[i]);
    if (rc != 0) return {};
  }
}

Result<> wait_for_grace_period() {
  // With one CPU the kernel returns at once, although a preempted program may still be running; and it
  // refuses where CPUs run without ticks (nohz_full). Hooks run for microseconds, so that this is long.
  constexpr useconds_t kLong = 100'000;
  const bool alone = ::sysconf(_SC_NPROCESSORS_ONLN) == 1;
  if (alone || ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) ::usleep(kLong);
  return {};
}

namespace {

bool names_only(const Maps& maps, std::uint64_t set, const lb_addr& service) {
  const std::uint64_t first = std::uint64_t{LB_SET_BASE(set)} + LB_SET_COUNT(set);
  if (first + LB_SET_LINES(set) > maps.slots.size()) return false;
  const auto lines = maps.slots.all().subspan(first, LB_SET_LINES(set));
  return std::all_of(lines.begin(), lines.end(), [&](std::uint64_t slot) {
    const std::uint32_t id = LB_SLOT_ID(slot);
    return id < maps.backends.size() &&
           std::memcmp(&maps.backends[id].service, &service, sizeof service) == 0;
  });
}

}  // namespace

void forget_foreign_lines(const Maps& maps) {
  for (lb_service& service : maps.services.all())
    for (auto& set : service.set)
      if (LB_SET_LINES(set) > 0 && !names_only(maps, set, service.key))
        std::atomic_ref(set).store(set & (LB_SET_WITH_LINES(0ULL, 1) - 1));
}

Result<bool> mark_ports(const Maps& maps) {
  bool missing = false;
  LB_CHECK(maps.service_ids.for_each([&](const lb_addr& key, std::uint32_t) {
    const std::uint16_t port = ntohs(key.port);
    const std::uint64_t bit = LB_PORT_BIT(port);
    const std::uint64_t before =
        std::atomic_ref((*maps.service_ports)[LB_PORT_WORD(key.proto, port)]).fetch_or(bit);
    missing = missing || (before & bit) == 0;
  }));
  return missing;
}

}  // namespace lb::bpf
