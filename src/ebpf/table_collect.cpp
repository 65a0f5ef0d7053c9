// Reading the counts, and freeing what nothing uses any more.
#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>

#include "ebpf/abi.h"
#include "ebpf/table.h"

namespace lb::bpf {
namespace {

std::int64_t load_active(const Maps& maps, std::uint32_t id) {
  return static_cast<std::int32_t>(
      std::atomic_ref(maps.backends[id].active).load(std::memory_order_relaxed));
}

}  // namespace

// Connections of the line's own service: the owner's count is that of all services of its address.
std::int64_t Table::own_share(std::uint32_t id) const {
  const Line& line = lines_.at(id);
  std::int64_t active = load_active(maps_, id);
  if (line.owner != id || line.service.protocol != Protocol::Tcp) return active;
  for (const auto member : owned_.at(line.address).members) active -= load_active(maps_, member);
  return active;
}

std::uint64_t Table::read_counters(std::uint32_t id, Line& line, FailedConnects& failed) {
  const lb_backend_cold& cold = maps_.cold[id];
  failed = {.refused = line.refused.read(cold.refused),
            .timed_out = line.timed_out.read(cold.timed_out),
            .gave_up = line.gave_up.read(cold.gave_up),
            .other = line.other.read(cold.other)};
  return line.opened.read(maps_.backends[id].opened);
}

ObservedBackend Table::observe_line(std::uint32_t id, Line& line) {
  ObservedBackend out{.address = line.address, .listed = line.listed};
  if (counts(line.service.protocol))
    out.active_connections = static_cast<std::uint64_t>(std::max<std::int64_t>(0, own_share(id)));
  const lb_backend& at = maps_.backends[id];
  if ((at.flags & LB_BACKEND_IN_USE) != 0) out.weight = at.weight;
  out.drained = (at.flags & LB_BACKEND_DRAINED) != 0;
  out.unexplained = line.listed && (at.flags & LB_BACKEND_JUDGED) == 0;
  out.total_connections = read_counters(id, line, out.failed);
  out.ejections = line.ejections;
  return out;
}

ObservedService Table::observe_entry(const ServiceKey& key, Entry& entry) {
  ObservedService out;
  out.key = key;
  out.programmed = entry.index.has_value();
  // Shown as not reachable, it is written again by who wants it.
  if (!entry.index || is_as_written(key, entry))
    out.addresses.assign(entry.addresses.begin(), entry.addresses.end());
  if (entry.index) out.balance = static_cast<Balance>(maps_.services[*entry.index].balance);
  for (const auto& [address, id] : entry.lines) {
    ObservedBackend backend = observe_line(id, lines_.at(id));
    for (const auto merged : entry.merged)
      if (lines_.at(merged).address == address && backend.active_connections)
        *backend.active_connections +=
            static_cast<std::uint64_t>(std::max<std::int64_t>(0, own_share(merged)));
    out.backends.push_back(backend);
  }
  const auto in_use =
      std::count_if(out.backends.begin(), out.backends.end(),
                    [](const ObservedBackend& b) { return b.listed && b.weight > 0; });
  if (in_use > LB_SET_MAX_SLOTS)
    out.left_out = fmt::format("{} of {} backends get no connections: one service has room for {}",
                               in_use - LB_SET_MAX_SLOTS, in_use, LB_SET_MAX_SLOTS);
  show_ejected(entry, out, Clock::now());
  return out;
}

std::optional<ObservedService> Table::observe(const ServiceKey& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  return observe_entry(key, it->second);
}

std::vector<ServiceKey> Table::keys() const {
  std::vector<ServiceKey> out;
  for (const auto& [key, entry] : entries_) out.push_back(key);
  return out;
}

// Keeps the wide counters ahead of a wrap, too. A hundred thousand lines at once would hold up the loop
// for 13 ms.
bool Table::look_at_some(Clock::time_point now) {
  const double passed = std::chrono::duration<double>(now - looked_) / kFullCollect;
  looked_ = now;
  bool below_zero = false;
  auto it = lines_.upper_bound(looked_up_to_);
  for (auto left = std::ceil(std::min(passed, 1.0) * static_cast<double>(lines_.size()));
       left >= 1 && !lines_.empty(); --left, ++it) {
    if (it == lines_.end()) it = lines_.begin();
    FailedConnects unused;
    read_counters(it->first, it->second, unused);
    below_zero = below_zero || load_active(maps_, it->first) < 0;
    if (maps_.backends[it->first].cooldown != it->second.noticed) cold_.insert(it->first);
    looked_up_to_ = it->first;
  }
  return below_zero;
}

Result<bool> Table::collect(Clock::time_point now) {
  const bool below_zero = look_at_some(now);
  std::vector<std::uint32_t> idle;
  for (const auto id : retired_)
    if (own_share(id) <= 0 && now - lines_.at(id).retired >= kGrace) idle.push_back(id);
  // Members first: an owner without members can go in the same round.
  for (const bool owners : {false, true})
    for (const auto id : idle) {
      const auto it = lines_.find(id);
      if (it == lines_.end() || (it->second.owner == id) != owners) continue;
      const auto owned = owned_.find(it->second.address);
      const bool shared = owners && it->second.service.protocol == Protocol::Tcp &&
                          owned != owned_.end() && !owned->second.members.empty();
      if (shared)
        promote_member(id, now);
      else
        LB_CHECK(free_line(id));
    }
  return below_zero;
}

std::vector<std::uint32_t> Table::retired_udp(Clock::time_point now) const {
  std::vector<std::uint32_t> out;
  for (const auto id : retired_) {
    const Line& line = lines_.at(id);
    if (line.service.protocol == Protocol::Udp && now - line.retired >= kGrace) out.push_back(id);
  }
  return out;
}

Result<> Table::free_line(std::uint32_t id) {
  const Line line = lines_.at(id);
  lb_backend& at = maps_.backends[id];
  if (line.service.protocol == Protocol::Tcp) {
    Owned& owned = owned_.at(line.address);
    if (line.owner == id) {
      LB_CHECK(maps_.address_ids.erase(at.address));
      owned_.erase(line.address);
    } else {
      owned.members.erase(id);
      // Alone again: new connections need no memory of their own.
      const Line& owner = lines_.at(owned.owner);
      if (owned.members.empty() &&
          !has_many_faces(owner.service, entries_.at(owner.service).addresses))
        set_flags(owned.owner, 0, LB_BACKEND_REMEMBER | LB_BACKEND_RECALL);
    }
  }
  const auto generation = at.generation;
  at = {};
  at.generation = generation;  // the next user of the line gets another one
  lines_.erase(id);
  retired_.erase(id);
  free_lines_.push_back(id);
  const auto entry = entries_.find(line.service);
  if (entry == entries_.end()) return {};
  std::erase(entry->second.merged, id);
  const auto current = entry->second.lines.find(line.address);
  if (current != entry->second.lines.end() && current->second == id)
    entry->second.lines.erase(current);
  if (!entry->second.index && entry->second.lines.empty() && entry->second.merged.empty())
    entries_.erase(entry);
  return {};
}

// The service that owned the address has left it, with no connection remaining, but others use it:
// the first of them takes over the owner's line, in place, since `address_ids` must not change while
// sockets count by it. Its former line keeps the connections that it has until they end.
bool Table::promote_member(std::uint32_t owner_id, Clock::time_point now) {
  Line& owner = lines_.at(owner_id);
  Owned& owned = owned_.at(owner.address);
  const auto heir = std::find_if(owned.members.begin(), owned.members.end(),
                                 [&](std::uint32_t id) { return lines_.at(id).listed; });
  if (heir == owned.members.end()) return false;
  const std::uint32_t member_id = *heir;
  Line& member = lines_.at(member_id);

  if (const auto left = entries_.find(owner.service); left != entries_.end()) {
    left->second.lines.erase(owner.address);
    if (!left->second.index && left->second.lines.empty() && left->second.merged.empty())
      entries_.erase(left);
  }
  lb_backend& to = maps_.backends[owner_id];
  const lb_backend& from = maps_.backends[member_id];
  maps_.cold[owner_id] = maps_.cold[member_id];
  to.service = from.service;
  to.weight = from.weight;
  to.cooldown = from.cooldown;
  to.generation += 1;
  std::atomic_ref(to.opened).store(from.opened, std::memory_order_relaxed);
  owner.service = member.service;
  owner.listed = true;
  retired_.erase(owner_id);
  owner.opened = member.opened;
  owner.refused = member.refused;
  owner.timed_out = member.timed_out;
  owner.gave_up = member.gave_up;
  owner.other = member.other;
  owner.noticed = member.noticed;
  owner.ejected_at = member.ejected_at;
  owner.ejections = member.ejections;
  constexpr unsigned kTaken = LB_BACKEND_IN_USE | LB_BACKEND_DRAINED | LB_BACKEND_JUDGED;
  set_flags(owner_id, LB_BACKEND_LISTED | (from.flags & kTaken), 0);

  // Slots name ids: point those of the heir's service to the owner's line, one store each. Both lines
  // are the same backend, so that a half-rewritten region is right at every moment.
  Entry& entry = entries_.at(member.service);
  entry.lines[owner.address] = owner_id;
  entry.merged.push_back(member_id);
  for (const Region& region : entry.regions)
    for (auto& slot : maps_.slots.all().subspan(region.base, region.count)) {
      const std::uint64_t id = LB_SLOT_ID(slot) == member_id ? owner_id : LB_SLOT_ID(slot);
      const std::uint64_t alias = LB_SLOT_ALIAS(slot) == member_id ? owner_id : LB_SLOT_ALIAS(slot);
      const std::uint64_t wanted = LB_SLOT(id, alias, std::uint64_t{LB_SLOT_THRESHOLD(slot)});
      if (slot != wanted) std::atomic_ref(slot).store(wanted, std::memory_order_release);
    }
  retire_line(member_id, now);
  return true;
}

std::optional<Table::Place> Table::place_of(std::uint32_t id, std::uint32_t generation) const {
  const auto it = lines_.find(id);
  if (it == lines_.end() || maps_.backends[id].generation != generation) return std::nullopt;
  return Place{it->second.service, it->second.address};
}

bool Table::has_retired_tcp() const {
  return std::any_of(retired_.begin(), retired_.end(), [this](std::uint32_t id) {
    return lines_.at(id).service.protocol == Protocol::Tcp;
  });
}

std::vector<std::uint32_t> Table::counting_lines() const {
  std::vector<std::uint32_t> out;
  for (const auto& [id, line] : lines_)
    if (line.service.protocol == Protocol::Tcp) out.push_back(id);
  return out;
}

}  // namespace lb::bpf
