// After a restart: the bookkeeping from what the maps hold. The maps are always consistent enough to
// steer; what a crash between two writes left over is put right here.
#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "ebpf/abi.h"
#include "ebpf/table.h"

namespace lb::bpf {
namespace {

// Makes the kernel have this key with this value; true: it had not.
Result<bool> put_back(const AddressMap& map, const lb_addr& key, std::uint32_t value) {
  const auto found = map.find(key);
  if (found == value) return false;
  LB_CHECK(map.erase(key));
  LB_CHECK(map.insert(key, value));
  return true;
}

// Calls `visit` with the next `count` elements after `position`, around the end to the beginning; stops at an error.
template <class Map, class Visit>
Result<> visit_next(const Map& map, typename Map::key_type& position, std::size_t count,
                    Visit visit) {
  auto it = map.upper_bound(position);
  for (count = std::min(count, map.size()); count > 0; --count, ++it) {
    if (it == map.end()) it = map.begin();
    position = it->first;
    LB_CHECK(visit(it->first, it->second));
  }
  return {};
}

}  // namespace

// Ten thousand look-ups at once would hold up the loop for some milliseconds.
Result<std::size_t> Table::put_back_keys(Clock::time_point now) {
  const double share = std::min(1.0, std::chrono::duration<double>(now - compared_) / kFullCollect);
  compared_ = now;
  const auto part_of = [share](std::size_t all) {
    return static_cast<std::size_t>(std::ceil(share * static_cast<double>(all)));
  };
  std::size_t repaired = 0;
  LB_CHECK(visit_next(
      keys_, compared_up_to_, part_of(keys_.size()),
      [&](const lb_addr& at, const ServiceKey& key) -> Result<> {
        LB_TRY(const bool lost, put_back(maps_.service_ids, at, *entries_.at(key).index));
        const std::uint64_t bit = LB_PORT_BIT(ntohs(at.port));
        const bool hidden = (std::atomic_ref(port_word(at)).fetch_or(bit) & bit) == 0;
        repaired += lost || hidden ? 1 : 0;
        return {};
      }));
  LB_CHECK(
      visit_next(owned_, owned_up_to_, part_of(owned_.size()),
                 [&](const Address& address, const Owned& owned) -> Result<> {
                   LB_TRY(const bool lost,
                          put_back(maps_.address_ids, to_abi(Protocol::Tcp, address), owned.owner));
                   repaired += lost ? 1 : 0;
                   return {};
                 }));
  return repaired;
}

// What the hooks read of a service, against what was written: whatever differs is written again by the next upsert.
bool Table::is_as_written(const ServiceKey& key, const Entry& entry) const {
  const lb_service& at = maps_.services[*entry.index];
  const lb_addr expected = to_abi(key);
  if (std::memcmp(&at.key, &expected, sizeof expected) != 0) return false;
  for (std::uint32_t family = 0; family < LB_FAMILIES; ++family)
    if (!is_set_as_written(entry, family)) return false;
  if (LB_SET_COUNT(at.set[LB_FAMILY_ANY]) > 0) return true;
  return std::none_of(entry.lines.begin(), entry.lines.end(), [this](const auto& line) {
    return (maps_.backends[line.second].flags & LB_BACKEND_IN_USE) != 0;
  });
}

bool Table::is_set_as_written(const Entry& entry, std::uint32_t family) const {
  const lb_service& at = maps_.services[*entry.index];
  const Region& region = entry.regions[family];
  const std::uint64_t set = at.set[family];
  const bool shares = family == LB_FAMILY_ANY && region.count == 0;
  if (shares && (set == at.set[LB_FAMILY_V4] || set == at.set[LB_FAMILY_V6])) return true;
  if (LB_SET_SLOTS(set) != region.count) return false;
  return region.count == 0 || LB_SET_BASE(set) == region.base;
}

Result<> Table::restore(Clock::time_point now) {
  LB_CHECK(restore_lines(now));
  LB_CHECK(restore_owners());
  return restore_services();
}

Result<> Table::restore_lines(Clock::time_point now) {
  std::deque<std::uint32_t> gaps;
  for (std::uint32_t id = 1; id < maps_.backends.size(); ++id) {
    const lb_backend& at = maps_.backends[id];
    if (!is_set(at.address)) {
      gaps.push_back(id);
      continue;
    }
    Line line{.service = key_from_abi(at.service),
              .address = address_from_abi(at.address),
              .owner = at.owner,
              .listed = (at.flags & LB_BACKEND_LISTED) != 0,
              .retired = now};
    Entry& entry = entries_[line.service];
    // Two lines for one backend: a member whose place the owner's line has taken.
    const auto [place, is_new] = entry.lines.emplace(line.address, id);
    if (!is_new) {
      const bool owner = line.owner == id;
      entry.merged.push_back(owner ? place->second : id);
      if (owner) place->second = id;
    }
    if (!line.listed) retired_.insert(id);
    if (at.cooldown != 0) cold_.insert(id);
    lines_.emplace(id, line);
    free_lines_.insert(free_lines_.end(), gaps.begin(), gaps.end());
    gaps.clear();
    next_line_ = id + 1;
  }
  return {};
}

Result<> Table::restore_owners() {
  for (const auto& [id, line] : lines_)
    if (line.service.protocol == Protocol::Tcp && line.owner == id) owned_[line.address].owner = id;
  for (const auto& [id, line] : lines_) {
    if (line.service.protocol != Protocol::Tcp || line.owner == id) continue;
    const auto owned = owned_.find(line.address);
    if (owned == owned_.end()) bug("a member line without owner in the pinned maps");
    owned->second.members.insert(id);
  }

  std::vector<lb_addr> stale;
  std::set<Address> known;
  LB_CHECK(maps_.address_ids.for_each([&](const lb_addr& key, std::uint32_t id) {
    const Address address = address_from_abi(key);
    const auto owned = owned_.find(address);
    if (owned != owned_.end() && owned->second.owner == id)
      known.insert(address);
    else
      stale.push_back(key);
  }));
  for (const auto& key : stale) LB_CHECK(maps_.address_ids.erase(key));
  for (const auto& [address, owned] : owned_)
    if (!known.contains(address))
      LB_CHECK(maps_.address_ids.insert(to_abi(Protocol::Tcp, address), owned.owner));
  return {};
}

Result<> Table::restore_services() {
  for (std::uint32_t index = 0; index < maps_.services.size(); ++index) {
    const lb_service& at = maps_.services[index];
    if (!is_set(at.key)) continue;
    for (; next_index_ < index; ++next_index_) free_indices_.push_back(next_index_);
    next_index_ = index + 1;
    ++indices_used_;
    Entry& entry = entries_[key_from_abi(at.key)];
    entry.index = index;
    for (std::uint32_t family = 0; family < LB_FAMILIES; ++family) {
      const Region region{LB_SET_BASE(at.set[family]), LB_SET_SLOTS(at.set[family])};
      const bool shared = family == LB_FAMILY_ANY && (at.set[family] == at.set[LB_FAMILY_V4] ||
                                                      at.set[family] == at.set[LB_FAMILY_V6]);
      if (!shared && space_.reserve(region)) entry.regions[family] = region;
    }
  }
  std::vector<lb_addr> stale;
  LB_CHECK(maps_.service_ids.for_each([&](const lb_addr& key, std::uint32_t index) {
    if (index >= maps_.services.size() || !is_set(maps_.services[index].key)) {
      stale.push_back(key);
      return;
    }
    const ServiceKey service = key_from_abi(maps_.services[index].key);
    entries_.at(service).addresses.insert(address_from_abi(key).ip);
    keys_.emplace(key, service);
    use_port(key);
  }));
  for (const auto& key : stale) LB_CHECK(maps_.service_ids.erase(key));
  return {};
}

}  // namespace lb::bpf
