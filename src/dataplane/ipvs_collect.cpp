// The IPVS dataplane: what is done about once a second. Servers and services that have run out go; what
// somebody else changed is put back.
#include <algorithm>
#include <iterator>
#include <utility>

#include <spdlog/spdlog.h>

#include "dataplane/ipvs_parts.h"
#include "dataplane/launder_addresses.h"

namespace lb {
namespace {

using ipvs::ServiceId;
using Clock = std::chrono::steady_clock;

constexpr auto kTablesEvery = std::chrono::seconds(10);  // at the tables, the addresses, forwarding

}  // namespace

Result<> IpvsDataplane::collect() {
  const auto now = Clock::now();
  fresh_.clear();
  LB_CHECK(retire_some(now));
  LB_CHECK(drop_leftovers(now));
  if (now - looked_ >= kTablesEvery) {
    looked_ = now;
    LB_CHECK(look_around());
  }
  // What a restart compares with is noted once nothing has been written for a second: listing takes as long as writing all.
  const bool quiet = std::exchange(tables_written_, tables_.writes()) == tables_.writes();
  return quiet && tables_.unlisted() ? note_tables() : Result<>{};
}

// Not what somebody else has made of them meanwhile.
Result<> IpvsDataplane::note_tables() {
  LB_TRY(const bool repaired, tables_.repair());
  if (repaired) note_repair("the nft tables were changed by another program");
  LB_TRY(std::string fingerprint, tables_.fingerprint());
  return journal_.put_tables(std::move(fingerprint));
}

// Takes servers out that are listed no more and have no connections, and services that were removed.
Result<> IpvsDataplane::retire_some(Clock::time_point now) {
  retirement_.begin(now);
  std::vector<ServiceKey> empty;
  for (auto it = leaving_.begin(); it != leaving_.end();) {
    const ServiceKey key = *it;
    const auto entry = journal_.entries().find(key);
    if (entry == journal_.entries().end()) {
      it = leaving_.erase(it);
      continue;
    }
    const auto listed = listed_.find(key);
    const std::vector<ServiceId> ids(entry->second.ids.begin(), entry->second.ids.end());
    LB_TRY(const bool left, retire_servers(ids, listed == listed_.end() ? std::set<Address>{}
                                                                        : listed->second.backends));
    const bool removed = !left && removed_.contains(key);
    if (removed) empty.push_back(key);
    it = left || removed ? std::next(it) : leaving_.erase(it);
  }
  for (const ServiceKey& key : empty) {
    const IpvsEntry entry = journal_.entries().at(key);
    const std::vector<ServiceId> ids(entry.ids.begin(), entry.ids.end());
    LB_TRY(const auto failures, mirror_.remove_services(ids));
    if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
    LB_CHECK(journal_.erase(key));
    removed_.erase(key);
    leaving_.erase(key);  // not before: a failure must not make it forgotten
  }
  return empty.empty() ? Result<>{} : apply_rules();
}

// Deletes the servers of one service that are not listed and that nothing runs over. True while some are left.
Result<bool> IpvsDataplane::retire_servers(std::span<const ServiceId> ids,
                                           const std::set<Address>& listed) {
  std::vector<ServiceId> with_leavers;
  for (const ServiceId& id : ids)
    if (const auto* service = mirror_.find(id))
      if (std::any_of(service->servers.begin(), service->servers.end(),
                      [&](const auto& entry) { return !listed.contains(entry.first); }))
        with_leavers.push_back(id);
  if (with_leavers.empty()) return false;
  LB_CHECK(mirror_.refresh_servers(with_leavers));
  std::vector<IpvsServer> servers;
  for (const ServiceId& id : with_leavers)
    for (const auto& [address, server] : mirror_.find(id)->servers) servers.push_back({id, server});
  LB_TRY(const auto choice, retirement_.choose(servers, listed));
  LB_TRY(const auto failures, mirror_.remove_servers(choice.unused));
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return choice.left;
}

Result<> IpvsDataplane::drop_leftovers(Clock::time_point now) {
  if (!drop_leftovers_) return {};
  std::vector<ServiceKey> left;
  for (const auto& [key, entry] : journal_.entries())
    if (!serves(key) && key != ipvs_sentinel()) left.push_back(key);
  if (left.empty()) {
    drop_leftovers_.reset();
    return remove_launder_addresses();
  }
  if (now < *drop_leftovers_) return {};
  for (const ServiceKey& key : left)
    if (!removed_.contains(key)) LB_CHECK(remove(key));
  return {};
}

Result<> IpvsDataplane::look_around() {
  host_.forget();
  LB_TRY(const bool repaired, tables_.repair());
  if (repaired) note_repair("the nft tables were changed by another program");
  if (!options_.outside_only) {
    LB_TRY(const bool there, have_launder_addresses());
    if (!there) {
      note_repair("a launder address was removed from lo by somebody");
      LB_CHECK(add_launder_addresses());
    }
  }
  LB_CHECK(
      apply_rules());  // new interfaces, and forwarding that somebody has switched on meanwhile
  return {};
}

void IpvsDataplane::note_repair(std::string_view what) {
  ++repairs_;
  spdlog::warn("dataplane=ipvs {}, putting it back", what);
}

}  // namespace lb
