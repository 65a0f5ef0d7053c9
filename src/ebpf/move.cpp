#include "ebpf/move.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

#include "ebpf/abi.h"

namespace lb::bpf {
namespace {

Result<> check_fits(std::string_view key, std::uint64_t used, std::uint32_t size) {
  if (used <= size) return {};
  return fail(ENOSPC, fmt::format("[dataplane] {} = {} is too small: {} are in use; raise it again "
                                  "(nothing was changed)",
                                  key, size, used));
}

template <class T>
std::uint32_t last_used(const MappedArray<T>& array, lb_addr T::*member) {
  for (std::uint32_t i = array.size(); i > 0; --i)
    if (is_set(array[i - 1].*member)) return i;
  return 0;
}

Result<> copy_keys(const AddressMap& from, const AddressMap& to) {
  Result<> outcome;
  LB_CHECK(from.for_each([&](const lb_addr& key, std::uint32_t value) {
    if (outcome) outcome = to.insert(key, value);
  }));
  return outcome;
}

void add(__u32& to, __u32 amount) {
  if (amount != 0) std::atomic_ref(to).fetch_add(amount, std::memory_order_relaxed);
}

}  // namespace

Result<Copied> copy_state(const Maps& from, const Maps& to) {
  const std::uint32_t services = last_used(from.services, &lb_service::key);
  const std::uint32_t backends = last_used(from.backends, &lb_backend::address);
  std::uint64_t slots = 0;
  for (std::uint32_t i = 0; i < services; ++i)
    for (const auto set : from.services[i].set)
      slots = std::max<std::uint64_t>(slots, std::uint64_t{LB_SET_BASE(set)} + LB_SET_SLOTS(set));
  LB_CHECK(check_fits("max_services", services, to.services.size()));
  // Line 0 is never used.
  LB_CHECK(check_fits("max_backends", backends > 0 ? backends - 1 : 0, to.backends.size() - 1));
  LB_CHECK(check_fits("max_slots", slots, to.slots.size()));

  // Free lines too: their generations must go on rising.
  const std::uint32_t lines = std::min(from.backends.size(), to.backends.size());
  std::copy_n(from.slots.all().begin(), slots, to.slots.all().begin());
  std::copy_n(from.cold.all().begin(), lines, to.cold.all().begin());
  std::copy_n(from.backends.all().begin(), lines, to.backends.all().begin());
  std::copy_n(from.services.all().begin(), services, to.services.all().begin());
  LB_CHECK(copy_keys(from.address_ids, to.address_ids));
  LB_CHECK(copy_keys(from.service_ids, to.service_ids));

  Copied copied;
  for (std::uint32_t id = 0; id < lines; ++id) {
    copied.opened.push_back(to.backends[id].opened);
    copied.cold.push_back(to.cold[id]);
  }
  return copied;
}

void add_what_came_since(const Copied& copied, const Maps& from, const Maps& to) {
  for (std::uint32_t id = 1; id < copied.opened.size(); ++id) {
    add(to.backends[id].opened, from.backends[id].opened - copied.opened[id]);
    add(to.cold[id].refused, from.cold[id].refused - copied.cold[id].refused);
    add(to.cold[id].timed_out, from.cold[id].timed_out - copied.cold[id].timed_out);
    add(to.cold[id].gave_up, from.cold[id].gave_up - copied.cold[id].gave_up);
    add(to.cold[id].other, from.cold[id].other - copied.cold[id].other);
  }
}

}  // namespace lb::bpf
