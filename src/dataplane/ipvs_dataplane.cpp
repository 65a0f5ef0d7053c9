#include "dataplane/ipvs_dataplane.h"

#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "dataplane/ipvs_parts.h"
#include "dataplane/launder_addresses.h"

namespace lb {
namespace {

using ipvs::ServiceId;

// The kernel keeps a service's servers in a list and searches it for each addition (ip_vs_lookup_dest): ten thousand take
// seconds, and a hundred times as many connects wait for the scheduler's walk over them.
constexpr std::size_t kMaxServers = 4096;
constexpr auto kConntrack = "net/ipv4/vs/conntrack";

std::string journal_path(const std::string& state_dir) { return state_dir + "/ipvs.json"; }
std::string settings_path(const std::string& state_dir) { return state_dir + "/sysctls.json"; }

void forget(IpvsEntry& entry, const ServiceId& id) {
  entry.ids.erase(id);
  entry.refusing.erase(id);
  if (id.fwmark == 0) entry.laundered.erase({id.protocol, id.address, id.port});
}

Result<> is_foreign(const std::set<ServiceId>& ids) {
  return fail(fmt::format(
      "IPVS already has {}, which is not lbd's (ipvsadm -Ln): remove it, and lbd takes over",
      ids.begin()->to_string()));
}

}  // namespace

Result<> IpvsDataplane::start() {
  if (!options_.why.empty()) notes_.push_back(options_.why);
  LB_CHECK(use_conntrack());
  if (!options_.outside_only) LB_CHECK(add_launder_addresses());
  LB_CHECK(adopt_entries());
  LB_CHECK(keep_sentinel());
  LB_CHECK(look_for_foreign());
  LB_CHECK(tables_.adopt(rules(), journal_.tables()));
  // Else the tables have been there, and with them connection tracking.
  if (tables_.writes() > 0) note_early(early_.look());
  looked_ = Clock::now();
  const auto& entries = journal_.entries();
  const bool left = std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
    return !serves(entry.first) && entry.first != ipvs_sentinel();
  });
  constexpr auto kLeftoversStay = std::chrono::minutes(1);
  if (left) drop_leftovers_ = looked_ + kLeftoversStay;
  return {};
}

// An error here keeps no client from being served.
void IpvsDataplane::note_early(const Result<>& done) {
  if (done) return;
  std::string note =
      fmt::format("idle connections to backends that began before lbd may be reset: {}",
                  done.error().message());
  if (std::find(notes_.begin(), notes_.end(), note) != notes_.end()) return;
  spdlog::warn("dataplane=ipvs {}", note);
  notes_.push_back(std::move(note));
}

// Masquerading needs conntrack for IPVS's connections. It changes how everybody's services behave, so
// where there are others it is left to the operator.
Result<> IpvsDataplane::use_conntrack() {
  LB_TRY(const std::string now, sysctls_.get(kConntrack));
  if (now == "1") return {};
  LB_TRY(const auto others, mirror_.others(all_ids()));
  if (others.empty()) {
    LB_CHECK(sysctls_.set(kConntrack, "1"));
    return {};
  }
  notes_.push_back(
      fmt::format("net.ipv4.vs.conntrack is 0 and {} IPVS services belong to others (the first is "
                  "{}), so it is left so: backends "
                  "on other hosts cannot be reached until `sysctl net.ipv4.vs.conntrack=1`",
                  others.size(), others.front().id.to_string()));
  return {};
}

std::set<ServiceId> IpvsDataplane::all_ids() const {
  std::set<ServiceId> out;
  for (const auto& [key, entry] : journal_.entries())
    out.insert(entry.ids.begin(), entry.ids.end());
  return out;
}

// What an earlier lbd left is listed as the kernel has it, until it is upserted.
Result<> IpvsDataplane::adopt_entries() {
  const std::set<ServiceId> all = all_ids();
  LB_CHECK(mirror_.refresh(std::vector<ServiceId>(all.begin(), all.end())));
  for (const auto& [key, entry] : journal_.entries()) {
    Listed& listed = listed_[key];
    for (const ServiceId& id : entry.ids)
      if (const auto* service = mirror_.find(id))
        for (const auto& [address, server] : service->servers) listed.backends.insert(address);
    note_forwarding(entry, listed.backends);
    fresh_.insert(key);
  }
  return {};
}

Result<> IpvsDataplane::keep_sentinel() {
  const auto service = virtual_service(ServiceId::of(ipvs_sentinel()), Balance::LeastConn);
  if (mirror_.find(service.id) != nullptr) return {};
  IpvsEntry entry;
  entry.key = ipvs_sentinel();
  entry.ids.insert(service.id);
  LB_CHECK(journal_.put(entry));
  LB_TRY(const auto failures, mirror_.add_service(service));
  // Somebody else's does the same for us.
  if (!failures.foreign.empty()) return journal_.erase(entry.key);
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return {};
}

Result<IpvsEntry> IpvsDataplane::entry_for(const ProgrammedService& service,
                                           IpvsTarget& target) const {
  if (service.backends.size() > kMaxServers)
    return fail(fmt::format(
        "{} backends are more than the {} that IPVS serves well: split the service, or use the "
        "eBPF dataplane",
        service.backends.size(), kMaxServers));
  IpvsEntry entry;
  const auto it = journal_.entries().find(service.key);
  if (it != journal_.entries().end()) {
    entry = it->second;
  } else {
    entry.key = service.key;
    entry.launder = service.launder;
    if (is_published(service.key)) {
      LB_TRY(entry.mark, journal_.free_mark());
    }
  }
  entry.balance = service.balance;
  entry.addresses = service.addresses;
  entry.withheld = {service.withheld.begin(), service.withheld.end()};
  // What runs out does so where it was.
  if (!service.addresses.empty())
    entry.for_others = std::any_of(
        service.addresses.begin(), service.addresses.end(), [&](const IpAddress& address) {
          return !address.is_loopback() && !entry.withheld.contains(address);
        });
  entry.explained = true;
  entry.drained.clear();
  for (const ProgrammedBackend& b : service.backends)
    if (b.drained) entry.drained.insert(b.address);
  target = ipvs_target(service, entry, scope_);
  entry.ids = {target.ids.begin(), target.ids.end()};
  entry.laundered = target.laundered;
  entry.refusing.clear();
  for (const auto& [id, servers] : target.servers)
    if (std::none_of(servers.begin(), servers.end(),
                     [](const ipvs::RealServer& server) { return server.weight > 0; }))
      entry.refusing.insert(id);
  return entry;
}

// Takes virtual services of others out of it, before anything is noted or a rule can
// touch connections of theirs at each attempt.
Result<IpvsDataplane::Plan> IpvsDataplane::plan_for(const ProgrammedService& service) {
  Plan out;
  LB_TRY(out.entry, entry_for(service, out.target));
  const auto foreign = [&] {
    std::set<ServiceId> ids;
    for (const ServiceId& id : out.target.ids)
      if (foreign_.contains(id) && mirror_.find(id) == nullptr) ids.insert(id);
    return ids;
  };
  if (foreign().empty()) return out;
  constexpr auto kStale = std::chrono::seconds(1);
  if (Clock::now() - foreign_looked_ > kStale) LB_CHECK(look_for_foreign());
  out.foreign = foreign();
  for (const ServiceId& id : out.foreign) {
    forget(out.entry, id);
    std::erase(out.target.ids, id);
    out.target.servers.erase(id);
  }
  return out;
}

Result<> IpvsDataplane::look_for_foreign() {
  LB_TRY(const auto others, mirror_.others(all_ids()));
  foreign_.clear();
  for (const ipvs::VirtualService& service : others) foreign_.insert(service.id);
  foreign_looked_ = Clock::now();
  return {};
}

// True when something about it is new, so that the rules may differ.
Result<bool> IpvsDataplane::note_entry(const IpvsEntry& entry) {
  const auto it = journal_.entries().find(entry.key);
  if (it != journal_.entries().end() && it->second == entry) return false;
  LB_CHECK(journal_.put(entry));
  return true;
}

nft::IpvsRules IpvsDataplane::rules() const {
  const bool forwards = forwarding_.v4 || forwarding_.v6;
  return ipvs_rules(journal_.entries(), options_.outside_only,
                    forwards && forwarding_was_off(sysctls_));
}

Result<> IpvsDataplane::apply_rules() {
  LB_CHECK(forward_for(sysctls_, forwarding_));
  return tables_.apply(rules());
}

// The rules of many services are one transaction, where each of its own would take longer than all the rest.
Result<> IpvsDataplane::prepare(std::span<const ProgrammedService> services) {
  bool changed = false;
  for (const ProgrammedService& service : services) {
    if (!serves(service.key)) continue;
    const auto plan = plan_for(service);
    if (!plan || is_all_foreign(*plan)) continue;  // its upsert says so
    LB_TRY(const bool differs, note_entry(plan->entry));
    changed = changed || differs;
  }
  return changed ? apply_rules() : Result<>{};
}

Result<> IpvsDataplane::upsert(const ProgrammedService& service) {
  if (!serves(service.key)) return {};
  LB_TRY(Plan plan, plan_for(service));
  if (is_all_foreign(plan)) return is_foreign(plan.foreign);
  IpvsTarget& target = plan.target;
  LB_TRY(const bool changed, note_entry(plan.entry));
  Listed listed;
  for (const ProgrammedBackend& b : service.backends) {
    listed.backends.insert(b.address);
    if (target.refused.contains(b.address)) listed.weights[b.address] = b.weight;
  }
  const auto need = forwarding_;
  note_forwarding(plan.entry, listed.backends);
  if (changed || forwarding_ != need) LB_CHECK(apply_rules());
  note_early(early_.make_known({listed.backends.begin(), listed.backends.end()}));
  LB_TRY(const auto failures, mirror_.program(target, service.balance));
  listed.refused = std::move(target.refused);
  listed_[service.key] = std::move(listed);
  removed_.erase(service.key);
  leaving_.insert(service.key);  // collect() looks whether there is anything to retire
  if (!failures.foreign.empty()) return give_up_foreign(service.key, failures.foreign);
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return plan.foreign.empty() ? Result<>{} : is_foreign(plan.foreign);
}

// Whatever has the service already keeps it, and gets neither our rules nor our servers.
Result<> IpvsDataplane::give_up_foreign(const ServiceKey& key, const std::set<ServiceId>& foreign) {
  IpvsEntry entry = journal_.entries().at(key);
  for (const ServiceId& id : foreign) forget(entry, id);
  foreign_.insert(foreign.begin(), foreign.end());
  LB_CHECK(entry.ids.empty() ? journal_.erase(key) : journal_.put(entry));
  if (entry.ids.empty()) listed_.erase(key);
  LB_CHECK(apply_rules());
  return is_foreign(foreign);
}

void IpvsDataplane::note_forwarding(const IpvsEntry& entry, const std::set<Address>& backends) {
  if (!is_published(entry.key) || !entry.for_others) return;
  for (const Address& backend : backends)
    if (!host_.has(backend.ip)) (backend.ip.is_v4() ? forwarding_.v4 : forwarding_.v6) = true;
}

Result<> IpvsDataplane::remove(const ServiceKey& key) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end()) return {};
  listed_.erase(key);
  removed_.insert(key);
  leaving_.insert(key);
  IpvsEntry entry = it->second;
  entry.addresses.clear();
  entry.refusing = entry.ids;
  LB_TRY(const bool changed, note_entry(entry));
  if (changed) LB_CHECK(apply_rules());
  IpvsTarget nothing{{entry.ids.begin(), entry.ids.end()}, {}, {}, {}};
  for (const ServiceId& id : entry.ids) nothing.servers[id];
  std::erase_if(nothing.ids, [&](const ServiceId& id) { return mirror_.find(id) == nullptr; });
  LB_TRY(const auto failures, mirror_.program(nothing, entry.balance));
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return retire_some(Clock::now());
}

Result<std::unique_ptr<Dataplane>> open_ipvs_dataplane(IpvsOptions options) {
  LB_TRY(ipvs::Client client, ipvs::Client::open());
  LB_TRY(nft::Tables tables, nft::Tables::open());
  LB_TRY(IpvsJournal journal, IpvsJournal::open(journal_path(options.state_dir)));
  LB_TRY(Sysctls sysctls, Sysctls::open(settings_path(options.state_dir)));
  auto out =
      std::make_unique<IpvsDataplane>(std::move(options), std::move(journal), std::move(sysctls),
                                      std::move(client), std::move(tables));
  LB_CHECK(out->start());
  return out;
}

Result<> detach_ipvs(const IpvsOptions& options) {
  const std::string path = journal_path(options.state_dir);
  if (IpvsJournal::exists(path)) {
    LB_TRY(ipvs::Client client, ipvs::Client::open());
    LB_TRY(nft::Tables tables, nft::Tables::open());
    LB_TRY(const IpvsJournal journal, IpvsJournal::open(path));
    std::vector<ServiceId> ids;
    for (const auto& [key, entry] : journal.entries())
      ids.insert(ids.end(), entry.ids.begin(), entry.ids.end());
    IpvsMirror mirror(std::move(client));
    LB_TRY(const auto failures, mirror.remove_services(ids));
    if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
    LB_CHECK(tables.remove(options.table));
    LB_CHECK(remove_launder_addresses());
    LB_TRY(Sysctls sysctls, Sysctls::open(settings_path(options.state_dir)));
    LB_CHECK(sysctls.restore());
  }
  return IpvsJournal::remove(path);
}

bool ipvs_left_something(const std::string& state_dir) {
  return IpvsJournal::exists(journal_path(state_dir));
}

}  // namespace lb
