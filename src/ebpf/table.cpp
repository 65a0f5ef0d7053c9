#include "ebpf/table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "ebpf/abi.h"

namespace lb::bpf {
namespace {

bool less_addr(const lb_addr& a, const lb_addr& b) { return std::memcmp(&a, &b, sizeof a) < 0; }

Error full(std::string_view key, std::uint32_t limit, std::string_view what) {
  return Error{
      std::error_code(ENOSPC, std::generic_category()),
      fmt::format("{} = {} is used up, no room for {}: raise [dataplane] {} and restart lbd "
                  "(no connection is lost by that)",
                  key, limit, what, key)};
}

bool reachable(const Address& address, std::uint32_t family) {
  return family == LB_FAMILY_ANY || address.ip.is_v4() == (family == LB_FAMILY_V4);
}

}  // namespace

Table::Table(Maps maps, bool counting)
    : maps_(std::move(maps)), counting_(counting), space_(maps_.slots.size()), keys_(&less_addr) {}

bool Table::has_many_faces(const ServiceKey& key, const std::set<IpAddress>& addresses) {
  return std::any_of(addresses.begin(), addresses.end(), [&](const IpAddress& ip) {
    const bool alias = !ip.is_v4() && ip.is_loopback() && key.address.is_loopback();
    return ip != key.address && !alias;
  });
}

Result<> Table::upsert(const ProgrammedService& service, Clock::time_point now) {
  Entry& entry = entries_[service.key];
  const bool fresh_entry = !entry.index && entry.lines.empty();
  Draft draft;
  auto drafted = draft_lines(service, entry, draft);
  if (drafted) {
    draft_slots(service, draft);
    drafted = draft_regions(entry, draft);
  }
  if (!drafted) {
    abandon(draft);
    if (fresh_entry) entries_.erase(service.key);
    return drafted;
  }
  if (draft.fresh_index) {
    entry.index = draft.fresh_index;
    maps_.services[*entry.index] = {};
  }
  maps_.services[*entry.index].key = to_abi(service.key);
  maps_.services[*entry.index].balance = static_cast<__u32>(service.balance);
  const std::set<IpAddress> wanted(service.addresses.begin(), service.addresses.end());
  entry.addresses.insert(wanted.begin(), wanted.end());  // write_lines looks at these
  LB_CHECK(write_lines(service, entry, draft));
  switch_sets(entry, draft, now);
  retire_absent(draft, entry, now);
  return switch_keys(service.key, entry, wanted);
}

Result<> Table::draft_lines(const ProgrammedService& service, const Entry& entry, Draft& draft) {
  for (const auto& backend : service.backends) {
    if (const auto it = entry.lines.find(backend.address); it != entry.lines.end()) {
      draft.lines.push_back(it->second);
      continue;
    }
    std::uint32_t id = 0;
    if (next_line_ < maps_.backends.size())
      id = next_line_++;
    else if (!free_lines_.empty()) {
      id = free_lines_.front();
      free_lines_.pop_front();
    } else
      return tl::unexpected(full("max_backends", maps_.backends.size() - 1,
                                 fmt::format("the backends of {}", service.key.to_string())));
    draft.lines.push_back(id);
    draft.fresh.insert(id);
  }
  if (entry.index) return {};
  if (!free_indices_.empty()) {
    draft.fresh_index = free_indices_.front();
    free_indices_.pop_front();
  } else if (next_index_ < maps_.services.size())
    draft.fresh_index = next_index_++;
  else
    return tl::unexpected(full("max_services", maps_.services.size(), service.key.to_string()));
  ++indices_used_;
  return {};
}

void Table::draft_slots(const ProgrammedService& service, Draft& draft) const {
  std::vector<std::uint32_t> in_use;
  for (const auto& backend : service.backends)
    if (backend.weight > 0) in_use.push_back(backend.weight);
  const auto reduced = reduce_weights(in_use);
  for (std::size_t i = 0, used = 0; i < service.backends.size(); ++i)
    draft.weights.push_back(service.backends[i].weight > 0 ? reduced[used++] : 0);

  for (std::uint32_t family = 0; family < LB_FAMILIES; ++family) {
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < service.backends.size(); ++i)
      if (draft.weights[i] > 0 && reachable(service.backends[i].address, family))
        candidates.push_back({draft.lines[i], draft.weights[i],
                              service.balance == Balance::SourceHash
                                  ? service.backends[i].address.to_string()
                                  : std::string()});
    draft.plans[family] = plan_slots(service.balance, counts(service.key.protocol), candidates);
  }
}

bool Table::plan_in_force(const Entry& entry, std::uint32_t family, const SlotPlan& plan) const {
  if (!entry.index || !is_set_as_written(entry, family)) return false;
  const std::uint64_t set = maps_.services[*entry.index].set[family];
  if (plan.slots.empty()) return LB_SET_COUNT(set) == 0;
  const auto slots = maps_.slots.all().subspan(LB_SET_BASE(set), LB_SET_SLOTS(set));
  return set == plan.word(LB_SET_BASE(set)) && slots.size() == plan.slots.size() &&
         std::equal(slots.begin(), slots.end(), plan.slots.begin());
}

Result<> Table::draft_regions(const Entry& entry, Draft& draft) {
  for (std::uint32_t family = 0; family < LB_FAMILIES; ++family) {
    const SlotPlan& plan = draft.plans[family];
    if (plan_in_force(entry, family, plan)) continue;
    // Most services have backends of one family: all their clients share one region.
    const bool shares = family == LB_FAMILY_ANY &&
                        (plan == draft.plans[LB_FAMILY_V4] || plan == draft.plans[LB_FAMILY_V6]);
    const auto count = shares ? 0 : static_cast<std::uint32_t>(plan.slots.size());
    auto region = space_.take(count);
    if (!region) {
      const auto began = Clock::now();
      LB_CHECK(wait_for_grace_period());
      grace_passed(began);
      region = space_.take(count);
    }
    if (!region)
      return tl::unexpected(full("max_slots", maps_.slots.size(), fmt::format("{} slots", count)));
    draft.regions[family] = *region;
  }
  return {};
}

void Table::abandon(const Draft& draft) {
  for (const auto id : draft.fresh) free_lines_.push_back(id);
  if (draft.fresh_index) {
    free_indices_.push_back(*draft.fresh_index);
    --indices_used_;
  }
  for (const auto& region : draft.regions)
    if (region) space_.retire(*region, Clock::time_point::min());
}

Result<> Table::write_lines(const ProgrammedService& service, Entry& entry, const Draft& draft) {
  const unsigned faces =
      has_many_faces(service.key, entry.addresses) ? LB_BACKEND_REMEMBER | LB_BACKEND_RECALL : 0;
  for (std::size_t i = 0; i < draft.lines.size(); ++i) {
    const std::uint32_t id = draft.lines[i];
    const Address& address = service.backends[i].address;
    if (draft.fresh.contains(id)) {
      LB_CHECK(write_new_line(id, service, address, draft.weights[i]));
      entry.lines[address] = id;
    }
    Line& line = lines_.at(id);
    line.listed = true;
    retired_.erase(id);
    if (draft.weights[i] > 0)
      std::atomic_ref(maps_.backends[id].weight)
          .store(static_cast<__u16>(draft.weights[i]), std::memory_order_relaxed);
    // IN_USE goes before the switch only when it is set: see switch_sets for when it is cleared.
    const bool drained = service.backends[i].drained;
    set_flags(id,
              LB_BACKEND_LISTED | LB_BACKEND_JUDGED | faces |
                  (draft.weights[i] > 0 ? LB_BACKEND_IN_USE : 0u) |
                  (drained ? LB_BACKEND_DRAINED : 0u),
              drained ? 0 : LB_BACKEND_DRAINED);
    if (faces && line.owner != id) set_flags(line.owner, faces, 0);
  }
  return {};
}

Result<> Table::write_new_line(std::uint32_t id, const ProgrammedService& service,
                               const Address& address, std::uint32_t weight) {
  const bool counted = service.key.protocol == Protocol::Tcp;
  Line line{.service = service.key, .address = address, .owner = id, .retired = {}};
  lb_backend& at = maps_.backends[id];
  maps_.cold[id] = {};
  lb_backend fresh{};
  fresh.address = to_abi(service.key.protocol, address);
  fresh.service = to_abi(service.key);
  fresh.weight = static_cast<__u16>(weight > 0 ? weight : 1);
  fresh.generation = at.generation + 1;
  fresh.owner = id;
  if (own_.contains(address.ip)) fresh.flags = LB_BACKEND_LOCAL;
  const auto owned = counted ? owned_.find(address) : owned_.end();
  if (owned != owned_.end()) {
    line.owner = fresh.owner = owned->second.owner;
    fresh.flags |= LB_BACKEND_MEMBER | LB_BACKEND_REMEMBER;
    owned->second.members.insert(id);
    set_flags(line.owner, LB_BACKEND_REMEMBER | LB_BACKEND_RECALL, 0);
  }
  at = fresh;
  std::atomic_thread_fence(std::memory_order_release);
  lines_.emplace(id, line);
  if (!counted || owned != owned_.end()) return {};
  owned_[address] = Owned{.owner = id, .members = {}};
  return maps_.address_ids.insert(fresh.address, id);
}

void Table::switch_sets(Entry& entry, const Draft& draft, Clock::time_point now) {
  lb_service& at = maps_.services[*entry.index];
  std::array<Region, LB_FAMILIES> old{};
  for (std::uint32_t family = 0; family < LB_FAMILIES; ++family) {
    if (!draft.regions[family]) continue;
    const Region region = *draft.regions[family];
    const SlotPlan& plan = draft.plans[family];
    std::copy(plan.slots.begin(), plan.slots.begin() + region.count,
              maps_.slots.all().begin() + region.base);
    std::uint64_t set = plan.word(region.base);
    if (region.count == 0 && !plan.slots.empty())  // ANY shares the set of the family it equals
      set = at.set[plan == draft.plans[LB_FAMILY_V4] ? LB_FAMILY_V4 : LB_FAMILY_V6];
    std::atomic_ref(at.set[family]).store(set, std::memory_order_release);
    old[family] = std::exchange(entry.regions[family], region);
  }
  // Only now: ANY may have been sharing what V4 or V6 has just left.
  for (const Region& region : old) space_.retire(region, now);
  for (std::size_t i = 0; i < draft.lines.size(); ++i)
    if (draft.weights[i] == 0) set_flags(draft.lines[i], 0, LB_BACKEND_IN_USE);
}

void Table::retire_absent(const Draft& draft, const Entry& entry, Clock::time_point now) {
  std::vector<std::uint32_t> wanted = draft.lines;
  std::sort(wanted.begin(), wanted.end());
  for (const auto& [address, id] : entry.lines)
    if (!std::binary_search(wanted.begin(), wanted.end(), id) && lines_.at(id).listed)
      retire_line(id, now);
}

void Table::retire_line(std::uint32_t id, Clock::time_point now) {
  Line& line = lines_.at(id);
  line.listed = false;
  line.retired = now;
  retired_.insert(id);
  set_flags(id, 0, LB_BACKEND_LISTED | LB_BACKEND_IN_USE | LB_BACKEND_DRAINED);
}

std::uint64_t& Table::port_word(const lb_addr& at) {
  return (*maps_.service_ports)[LB_PORT_WORD(at.proto, ntohs(at.port))];
}

void Table::use_port(const lb_addr& at) {
  ++ports_[{at.proto, at.port}];
  std::atomic_ref(port_word(at)).fetch_or(LB_PORT_BIT(ntohs(at.port)));
}

void Table::leave_port(const lb_addr& at) {
  const auto port = ports_.find({at.proto, at.port});
  if (port == ports_.end() || --port->second > 0) return;
  ports_.erase(port);
  std::atomic_ref(port_word(at)).fetch_and(~LB_PORT_BIT(ntohs(at.port)));
}

Result<> Table::add_key(const lb_addr& at, std::uint32_t index) {
  use_port(at);
  auto added = maps_.service_ids.insert(at, index);
  if (!added) leave_port(at);
  return added;
}

Result<> Table::remove_key(const lb_addr& at) {
  LB_CHECK(maps_.service_ids.erase(at));
  leave_port(at);
  return {};
}

Result<> Table::switch_keys(const ServiceKey& key, Entry& entry, std::set<IpAddress> wanted) {
  for (const auto& ip : std::set<IpAddress>(entry.addresses)) {
    const lb_addr at = to_abi(key.protocol, Address{ip, key.port});
    const auto held = keys_.find(at);
    const bool mine = held != keys_.end() && held->second == key;
    if (wanted.contains(ip) && !mine) {
      if (held != keys_.end()) {  // another service's alias: the latest word wins
        LB_CHECK(remove_key(at));
        entries_.at(held->second).addresses.erase(ip);
        keys_.erase(held);
      }
      if (auto added = add_key(at, *entry.index); !added) {
        entry.addresses.erase(ip);
        if (added.error().code.value() != E2BIG) return added;
        return tl::unexpected(full("max_services", maps_.services.size(),
                                   fmt::format("the addresses of {}", key.to_string())));
      }
      keys_.emplace(at, key);
    } else if (!wanted.contains(ip)) {
      if (mine) {
        LB_CHECK(remove_key(at));
        keys_.erase(held);
      }
      entry.addresses.erase(ip);
    }
  }
  return {};
}

Result<> Table::remove(const ServiceKey& key, Clock::time_point now) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return {};
  Entry& entry = it->second;
  LB_CHECK(switch_keys(key, entry, {}));
  if (entry.index) {
    for (auto& set : maps_.services[*entry.index].set)
      std::atomic_ref(set).store(0, std::memory_order_release);
    for (auto& region : entry.regions) space_.retire(std::exchange(region, Region{}), now);
    retired_indices_.push_back({*entry.index, now});
    entry.index.reset();
  }
  for (const auto& [address, id] : entry.lines)
    if (lines_.at(id).listed) retire_line(id, now);
  if (entry.lines.empty()) entries_.erase(it);
  return {};
}

void Table::grace_passed(Clock::time_point began) {
  space_.release(began);
  while (!retired_indices_.empty() && retired_indices_.front().since <= began) {
    const auto index = retired_indices_.front().index;
    maps_.services[index] = {};
    free_indices_.push_back(index);
    --indices_used_;
    retired_indices_.pop_front();
  }
}

void Table::set_own_addresses(std::set<IpAddress> own) {
  if (own == own_) return;
  own_ = std::move(own);
  for (const auto& [id, line] : lines_) {
    const bool local = own_.contains(line.address.ip);
    set_flags(id, local ? LB_BACKEND_LOCAL : 0U, local ? 0U : LB_BACKEND_LOCAL);
  }
}

void Table::set_flags(std::uint32_t id, unsigned set, unsigned clear) {
  __u16& flags = maps_.backends[id].flags;
  const auto wanted = static_cast<__u16>((flags & ~clear) | set);
  if (flags != wanted) std::atomic_ref(flags).store(wanted, std::memory_order_release);
}

}  // namespace lb::bpf
