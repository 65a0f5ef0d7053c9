#include "dataplane/ipvs_dataplane.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "dataplane/forwarding.h"
#include "dataplane/host_addresses.h"
#include "dataplane/ipvs_connections.h"
#include "dataplane/ipvs_journal.h"
#include "dataplane/ipvs_mirror.h"
#include "dataplane/ipvs_retirement.h"
#include "dataplane/ipvs_tables.h"
#include "dataplane/launder_addresses.h"
#include "dataplane/socket_destroy.h"
#include "dataplane/sysctls.h"

namespace lb {
namespace {

using ipvs::ServiceId;
using Clock = std::chrono::steady_clock;

// The kernel keeps a service's servers in a list and searches it for each addition (ip_vs_lookup_dest): ten thousand take
// seconds, and a hundred times as many connects wait for the scheduler's walk over them.
constexpr std::size_t kMaxServers = 4096;
constexpr auto kConntrack = "net/ipv4/vs/conntrack";
constexpr auto kLookEvery = std::chrono::seconds(10);  // at the tables, the addresses, forwarding

// When the last virtual service of a namespace goes, IPVS unregisters its hooks and resets every connection. This one,
// where nobody connects, keeps them.
ServiceKey sentinel() { return {Protocol::Tcp, IpAddress::v4(0x7fff0001), 1}; }

std::string journal_path(const std::string& state_dir) { return state_dir + "/ipvs.json"; }
std::string settings_path(const std::string& state_dir) { return state_dir + "/sysctls.json"; }

class IpvsDataplane final : public Dataplane {
 public:
  IpvsDataplane(IpvsOptions options, IpvsJournal journal, Sysctls sysctls, ipvs::Client client,
                nft::Tables tables)
      : options_(std::move(options)),
        journal_(std::move(journal)),
        sysctls_(std::move(sysctls)),
        mirror_(std::move(client)),
        tables_(std::move(tables), options_.table),
        scope_{options_.outside_only, [this](const IpAddress& ip) { return host_.has(ip); }} {}

  Result<> start();

  Result<Observed> read() override;
  Result<ObservedService> read(const ServiceKey& key) override;
  Result<> prepare(std::span<const ProgrammedService> services) override;
  Result<> upsert(const ProgrammedService& service) override;
  Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override { done({}); }  // IPVS reads weights under RCU at each choice
  Result<> collect() override;
  Result<std::uint64_t> count_udp(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  // IPVS does not tell: a client meets the backend's refusal or silence itself.
  void on_connect_failure(std::function<void(const ConnectFailure&)>) override {}
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  struct Listed {
    std::set<Address> backends;                // of the service as last upserted
    std::map<Address, std::string> refused;    // of these, and why
    std::map<Address, std::uint32_t> weights;  // of the refused: nobody else remembers
  };

  [[nodiscard]] bool serves(const ServiceKey& key) const {
    return !options_.outside_only || is_published(key);
  }
  [[nodiscard]] std::set<ServiceId> all_ids() const;
  Result<> use_conntrack();
  Result<> adopt_entries();
  Result<> keep_sentinel();
  Result<IpvsEntry> entry_for(const ProgrammedService& service, IpvsTarget& target) const;
  Result<bool> note_entry(const IpvsEntry& entry);
  Result<> apply_rules();
  Result<> give_up_foreign(const ServiceKey& key, const std::set<ServiceId>& foreign);
  void note_forwarding(const ServiceKey& key, const std::set<Address>& backends);
  [[nodiscard]] nft::IpvsRules rules() const;
  ObservedService observe(const IpvsEntry& entry) const;
  void observe_server(const IpvsEntry& entry, const ipvs::ObservedServer& server,
                      std::map<Address, ObservedBackend>& out) const;
  Result<> retire_some(Clock::time_point now);
  Result<> drop_leftovers(Clock::time_point now);
  Result<> look_around();
  void note_repair(std::string_view what);

  IpvsOptions options_;
  IpvsJournal journal_;
  Sysctls sysctls_;
  IpvsMirror mirror_;
  IpvsTables tables_;
  HostAddresses host_;
  IpvsScope scope_;
  std::map<ServiceKey, Listed> listed_;
  std::set<ServiceKey> removed_;  // by remove(): they go when their connections have
  std::set<ServiceKey> leaving_;  // have servers that are not listed any more, or are in removed_
  IpvsRetirement retirement_;
  ForwardingNeed forwarding_;
  Clock::time_point looked_;
  // Of an lbd that served local clients by IPVS, where the hooks do now: they go once those serve, or at the latest then.
  std::optional<Clock::time_point> drop_leftovers_;
  std::uint64_t repairs_ = 0;
  std::vector<std::string> notes_;
};

Result<> IpvsDataplane::start() {
  if (!options_.why.empty()) notes_.push_back(options_.why);
  LB_CHECK(use_conntrack());
  if (!options_.outside_only) LB_CHECK(add_launder_addresses());
  LB_CHECK(adopt_entries());
  LB_CHECK(keep_sentinel());
  LB_CHECK(tables_.adopt(rules(), journal_.tables()));
  looked_ = Clock::now();
  const auto& entries = journal_.entries();
  const bool left = std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
    return !serves(entry.first) && entry.first != sentinel();
  });
  constexpr auto kLeftoversStay = std::chrono::minutes(1);
  if (left) drop_leftovers_ = looked_ + kLeftoversStay;
  return {};
}

// Masquerading needs conntrack for IPVS's connections. It changes how everybody's services behave, so
// where there are others it is left to the operator.
Result<> IpvsDataplane::use_conntrack() {
  LB_TRY(const std::string now, sysctls_.get(kConntrack));
  if (now == "1") return {};
  LB_TRY(const auto others, mirror_.others(all_ids()));
  if (others.empty()) return sysctls_.set(kConntrack, "1");
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
  LB_CHECK(mirror_.refresh(all_ids()));
  for (const auto& [key, entry] : journal_.entries()) {
    Listed& listed = listed_[key];
    for (const ServiceId& id : entry.ids)
      if (const auto* service = mirror_.find(id))
        for (const auto& [address, server] : service->servers) listed.backends.insert(address);
    note_forwarding(key, listed.backends);
  }
  return {};
}

Result<> IpvsDataplane::keep_sentinel() {
  const auto service = virtual_service(ServiceId::of(sentinel()), Balance::LeastConn);
  if (mirror_.find(service.id) != nullptr) return {};
  IpvsEntry entry;
  entry.key = sentinel();
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
    IpvsTarget target;
    const auto entry = entry_for(service, target);
    if (!entry) continue;  // its upsert says so
    LB_TRY(const bool differs, note_entry(*entry));
    changed = changed || differs;
  }
  return changed ? apply_rules() : Result<>{};
}

Result<> IpvsDataplane::upsert(const ProgrammedService& service) {
  if (!serves(service.key)) return {};
  IpvsTarget target;
  LB_TRY(const IpvsEntry entry, entry_for(service, target));
  LB_TRY(const bool changed, note_entry(entry));
  Listed listed;
  for (const ProgrammedBackend& b : service.backends) {
    listed.backends.insert(b.address);
    if (target.refused.contains(b.address)) listed.weights[b.address] = b.weight;
  }
  const auto need = forwarding_;
  note_forwarding(service.key, listed.backends);
  if (changed || forwarding_ != need) LB_CHECK(apply_rules());
  LB_TRY(const auto failures, mirror_.program(target, service.balance));
  listed.refused = std::move(target.refused);
  listed_[service.key] = std::move(listed);
  removed_.erase(service.key);
  leaving_.insert(service.key);  // collect() looks whether there is anything to retire
  if (!failures.foreign.empty()) return give_up_foreign(service.key, failures.foreign);
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return {};
}

// Whatever has the service already keeps it, and gets neither our rules nor our servers.
Result<> IpvsDataplane::give_up_foreign(const ServiceKey& key, const std::set<ServiceId>& foreign) {
  IpvsEntry entry = journal_.entries().at(key);
  for (const ServiceId& id : foreign) {
    entry.ids.erase(id);
    entry.refusing.erase(id);
    if (id.fwmark == 0) entry.laundered.erase({id.protocol, id.address, id.port});
  }
  LB_CHECK(entry.ids.empty() ? journal_.erase(key) : journal_.put(entry));
  if (entry.ids.empty()) listed_.erase(key);
  LB_CHECK(apply_rules());
  return fail(fmt::format(
      "IPVS already has {}, which is not lbd's (ipvsadm -Ln): remove it, and lbd takes over",
      foreign.begin()->to_string()));
}

void IpvsDataplane::note_forwarding(const ServiceKey& key, const std::set<Address>& backends) {
  if (!is_published(key)) return;
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

Result<Observed> IpvsDataplane::read() {
  LB_TRY(const std::size_t differ, mirror_.refresh(all_ids()));
  if (differ > 0) note_repair(fmt::format("{} virtual services were changed by somebody", differ));
  Observed out;
  for (const auto& [key, entry] : journal_.entries())
    if (key != sentinel() && !removed_.contains(key) && serves(key))
      out.services.push_back(observe(entry));
  if (mirror_.find(ServiceId::of(sentinel())) == nullptr) LB_CHECK(keep_sentinel());
  return out;
}

Result<ObservedService> IpvsDataplane::read(const ServiceKey& key) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end() || removed_.contains(key) || !serves(key))
    return fail(ENOENT, key.to_string());
  const std::vector<ServiceId> ids(it->second.ids.begin(), it->second.ids.end());
  LB_CHECK(mirror_.refresh_servers(ids));
  return observe(it->second);
}

// Everything as the kernel has it; where two virtual services of one (the families of a wildcard, the alias) differ
// from each other or from what was asked, the difference shows, and the reconciler repairs it.
ObservedService IpvsDataplane::observe(const IpvsEntry& entry) const {
  ObservedService out{entry.key, entry.addresses, entry.balance, {}};
  std::map<Address, ObservedBackend> backends;
  for (const ServiceId& id : entry.ids) {
    const MirroredService* service = mirror_.find(id);
    if (service == nullptr) {
      if (entry.ids.size() > 1) out.addresses.clear();
      continue;
    }
    if (service->service != virtual_service(id, entry.balance))
      out.balance = entry.balance == Balance::LeastConn ? Balance::RoundRobin : Balance::LeastConn;
    for (const auto& [address, server] : service->servers) observe_server(entry, server, backends);
  }
  if (const auto listed = listed_.find(entry.key); listed != listed_.end())
    for (const auto& [address, why] : listed->second.refused) {
      ObservedBackend& b = backends[address];
      b.address = address;
      b.listed = true;
      b.refused = why;
      b.weight = listed->second.weights.at(address);
    }
  for (auto& [address, backend] : backends)
    if (backend.listed || backend.active_connections.value_or(0) > 0)
      out.backends.push_back(std::move(backend));
  return out;
}

void IpvsDataplane::observe_server(const IpvsEntry& entry, const ipvs::ObservedServer& server,
                                   std::map<Address, ObservedBackend>& out) const {
  const Address& address = server.server.address;
  const auto listed = listed_.find(entry.key);
  ObservedBackend& b = out[address];
  const bool first = b.address == Address{};
  b.address = address;
  b.listed = listed != listed_.end() && listed->second.backends.contains(address);
  b.weight = first ? server.server.weight : std::min(b.weight, server.server.weight);
  if (!b.listed) b.weight = 0;
  b.total_connections += server.connections;
  if (entry.key.protocol == Protocol::Tcp)
    b.active_connections = b.active_connections.value_or(0) + server.active;
}

Result<> IpvsDataplane::collect() {
  const auto now = Clock::now();
  LB_CHECK(retire_some(now));
  LB_CHECK(drop_leftovers(now));
  if (now - looked_ >= kLookEvery) {
    looked_ = now;
    LB_CHECK(look_around());
  }
  return {};
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
    LB_TRY(const bool left, retirement_.look(mirror_, ids,
                                             listed == listed_.end() ? std::set<Address>{}
                                                                     : listed->second.backends));
    if (!left && removed_.contains(key)) empty.push_back(key);
    it = left ? std::next(it) : leaving_.erase(it);
  }
  for (const ServiceKey& key : empty) {
    const IpvsEntry entry = journal_.entries().at(key);
    const std::vector<ServiceId> ids(entry.ids.begin(), entry.ids.end());
    LB_TRY(const auto failures, mirror_.remove_services(ids));
    if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
    LB_CHECK(journal_.erase(key));
    removed_.erase(key);
  }
  return empty.empty() ? Result<>{} : apply_rules();
}

Result<> IpvsDataplane::drop_leftovers(Clock::time_point now) {
  if (!drop_leftovers_) return {};
  std::vector<ServiceKey> left;
  for (const auto& [key, entry] : journal_.entries())
    if (!serves(key) && key != sentinel()) left.push_back(key);
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
  if (repaired) note_repair("the nft tables were changed by somebody");
  if (!options_.outside_only) {
    LB_TRY(const bool there, have_launder_addresses());
    if (!there) {
      note_repair("a launder address was removed from lo by somebody");
      LB_CHECK(add_launder_addresses());
    }
  }
  LB_CHECK(
      apply_rules());  // new interfaces, and forwarding that somebody has switched on meanwhile
  LB_TRY(std::string fingerprint, tables_.fingerprint());
  return journal_.put_tables(std::move(fingerprint));
}

void IpvsDataplane::note_repair(std::string_view what) {
  ++repairs_;
  spdlog::warn("dataplane=ipvs {}, putting it back", what);
}

// Every flow that IPVS remembers: a client that has fallen silent is one until its timeout (5 minutes).
Result<std::uint64_t> IpvsDataplane::count_udp(const ServiceKey& key, const Address& backend) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end()) return 0;
  const std::vector<ServiceId> ids(it->second.ids.begin(), it->second.ids.end());
  LB_CHECK(mirror_.refresh_servers(ids));
  std::uint64_t count = 0;
  for (const ServiceId& id : ids)
    if (const auto* service = mirror_.find(id))
      if (const auto server = service->servers.find(backend); server != service->servers.end())
        count += server->second.active + server->second.inactive;
  return count;
}

// Sockets of local clients are destroyed. Clients of other hosts are out of reach: theirs go on.
Result<std::uint64_t> IpvsDataplane::terminate(const ServiceKey& key, const Address& backend) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end()) return 0;
  const auto& addresses = it->second.addresses;
  LB_TRY(const auto connections, read_ipvs_connections());
  std::vector<SocketPair> sockets;
  for (const IpvsConnection& c : connections) {
    if (c.protocol != key.protocol || c.server != backend || c.service.port != key.port ||
        c.is_over())
      continue;
    const bool ours = c.service.ip == key.address || std::find(addresses.begin(), addresses.end(),
                                                               c.service.ip) != addresses.end();
    if (ours) sockets.push_back({{unlaundered(c.client.ip), c.client.port}, c.service});
  }
  return destroy_sockets(key.protocol, sockets);
}

DataplaneInfo IpvsDataplane::info() const {
  DataplaneInfo out;
  out.mode = "ipvs";
  out.notes = notes_;
  out.writes = mirror_.writes() + tables_.writes();
  for (const auto& [key, entry] : journal_.entries())
    if (key != sentinel()) ++out.used_services;
  for (const auto& [key, listed] : listed_) {
    out.used_backends += listed.backends.size();
    for (const auto& [address, why] : listed.refused)
      out.notes.push_back(
          fmt::format("{}: {} is not used: {}", key.to_string(), address.to_string(), why));
  }
  if (repairs_ > 0)
    out.notes.push_back(fmt::format("somebody else's changes were put right {} times", repairs_));
  return out;
}

}  // namespace

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
