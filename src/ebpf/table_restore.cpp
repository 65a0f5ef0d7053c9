// After a restart: the bookkeeping from what the maps hold. The maps are always consistent enough to
// steer; what a crash between two writes left over is put right here.
#include "ebpf/abi.h"
#include "ebpf/table.h"

namespace lb::bpf {

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
      const Region region{LB_SET_BASE(at.set[family]), LB_SET_COUNT(at.set[family])};
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
  }));
  for (const auto& key : stale) LB_CHECK(maps_.service_ids.erase(key));
  return {};
}

}  // namespace lb::bpf
