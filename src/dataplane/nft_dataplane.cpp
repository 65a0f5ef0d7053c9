#include "dataplane/nft_dataplane.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/upkeep.h"
#include "dataplane/early_connections.h"
#include "dataplane/forwarding.h"
#include "dataplane/host_addresses.h"
#include "dataplane/nft_flow_counts.h"
#include "dataplane/nft_ruleset.h"

namespace lb {
namespace {

using nft::DnatServices;
using Clock = NftRuleset::Clock;

constexpr auto kHostEvery = std::chrono::seconds(10);  // at interfaces and foreign firewalls
constexpr auto kAlways =
    std::chrono::milliseconds(0);  // what costs nothing where there is nothing to do

std::string state_path(const NftOptions& options) { return options.state_dir + "/nft.json"; }
std::string settings_path(const NftOptions& options) {
  return options.state_dir + "/nft-sysctls.json";
}

class NftDataplane final : public Dataplane {
 public:
  NftDataplane(NftRuleset ruleset, nft::Flows flows, Sysctls sysctls);
  ~NftDataplane() override;
  NftDataplane(const NftDataplane&) = delete;
  NftDataplane& operator=(const NftDataplane&) = delete;

  Result<std::vector<ServiceKey>> keys() override;
  Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  Result<> prepare(std::span<const ProgrammedService> services) override;
  Result<> upsert(const ProgrammedService& service) override { return prepare({&service, 1}); }
  Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override;
  Result<> collect() override;
  Result<std::uint64_t> count_sockets(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  // Connection tracking does not tell who could not connect.
  void on_connect_failure(std::function<void(const ConnectFailure&)>) override {}
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  [[nodiscard]] const DnatServices& services() const { return ruleset_.services(); }
  [[nodiscard]] bool guard() const {
    return need_ != ForwardingNeed{} && forwarding_was_off(sysctls_);
  }
  void note_need(const ProgrammedService& service);
  void make_early_known(std::span<const ProgrammedService> changed);
  void note_left(const ProgrammedService& before, const ProgrammedService* after);
  void note_fresh(const ProgrammedService& service);
  void note_all_fresh();
  // What is looked at about once a second: see the constructor.
  [[nodiscard]] Result<std::size_t> keep_forwarding();
  [[nodiscard]] Result<std::size_t> keep_table();
  [[nodiscard]] Result<> end_retired_udp();
  [[nodiscard]] Result<> renew_udp();

  NftRuleset ruleset_;
  NftFlowCounts flows_;
  Sysctls sysctls_;
  EarlyConnections early_;
  HostAddresses host_;
  ForwardingNeed need_;  // only grows: forwarding stays on until lbd is detached
  // UDP backends that have left a service (as it was then): their clients would send there for ever.
  std::map<NftFlowCounts::Id, ProgrammedService> left_;
  // Where UDP clients come to a service that is new or has changed: their flows from before it are not its own.
  std::set<ServiceKey> fresh_;
  std::vector<nft::DroppingChain> dropping_;
  Upkeep upkeep_{"dataplane=nft"};
};

NftDataplane::NftDataplane(NftRuleset ruleset, nft::Flows flows, Sysctls sysctls)
    : ruleset_(std::move(ruleset)), flows_(std::move(flows)), sysctls_(std::move(sysctls)) {
  for (const auto& [key, service] : services()) note_need(service);
  const auto nothing_of_ours = [](const Result<>& done) -> Result<std::size_t> {
    LB_CHECK(done);
    return 0;
  };
  upkeep_.add("the nft table", kAlways, [this] { return keep_table(); });
  upkeep_.add("forwarding", kHostEvery, [this] { return keep_forwarding(); });
  upkeep_.add("the UDP flows of backends that left", kAlways,
              [=, this] { return nothing_of_ours(end_retired_udp()); });
  upkeep_.add("the UDP flows from before a service", kAlways,
              [=, this] { return nothing_of_ours(renew_udp()); });
  upkeep_.add("other people's firewalls", kHostEvery, [this]() -> Result<std::size_t> {
    if (need_ == ForwardingNeed{}) return 0;
    LB_TRY(dropping_, ruleset_.dropping_chains());
    return 0;
  });
  upkeep_.add("the record of the nft table", kAlways,
              [=, this] { return nothing_of_ours(ruleset_.save()); });
}

ObservedService observe(const ProgrammedService& service, const NftFlowCounts::Counts& counts) {
  ObservedService out{service.key, service.addresses, service.balance, {}};
  const bool tcp = service.key.protocol == Protocol::Tcp;
  std::map<Address, ObservedBackend> backends;
  for (auto it = counts.lower_bound({service.key, Address{}});
       it != counts.end() && it->first.first == service.key; ++it) {
    ObservedBackend& backend = backends[it->first.second];
    if (tcp) backend.active_connections = it->second;
  }
  for (const ProgrammedBackend& b : service.backends) {
    ObservedBackend& backend = backends[b.address];
    backend.listed = true;
    backend.weight = b.weight;
    backend.refused = nft::refusal(service.addresses, b.address);
    if (tcp && !backend.active_connections) backend.active_connections = 0;
  }
  for (auto& [address, backend] : backends) {
    backend.address = address;
    out.backends.push_back(std::move(backend));
  }
  return out;
}

NftDataplane::~NftDataplane() {
  if (const auto saved = ruleset_.save(); !saved)
    spdlog::warn("dataplane=nft {}", saved.error().message());
}

Result<std::vector<ServiceKey>> NftDataplane::keys() {
  std::vector<ServiceKey> out;
  for (const auto& [key, service] : services()) out.push_back(key);
  return out;
}

Result<Observed> NftDataplane::read_some(std::span<const ServiceKey> keys) {
  Observed out;
  for (const ServiceKey& key : keys) {
    const auto it = services().find(key);
    if (it == services().end()) continue;
    LB_TRY(const auto* counts, flows_.read(services()));  // kept for a while
    out.services.push_back(observe(it->second, *counts));
  }
  return out;
}

void NftDataplane::note_need(const ProgrammedService& service) {
  for (const ProgrammedBackend& b : service.backends)
    if (nft::refusal(service.addresses, b.address).empty() && !host_.has(b.address.ip))
      (b.address.ip.is_v4() ? need_.v4 : need_.v6) = true;
}

// While there is no table connection tracking need not be at work. An error here keeps no client from being served.
void NftDataplane::make_early_known(std::span<const ProgrammedService> changed) {
  std::vector<Address> backends;
  for (const ProgrammedService& service : changed)
    for (const ProgrammedBackend& b : service.backends) backends.push_back(b.address);
  Result<> done = services().empty() ? early_.look() : Result<>{};
  if (done) done = early_.make_known(backends);
  if (!done)
    spdlog::warn("dataplane=nft idle connections to backends that began before may be reset: {}",
                 done.error().message());
}

void NftDataplane::note_left(const ProgrammedService& before, const ProgrammedService* after) {
  if (before.key.protocol != Protocol::Udp) return;
  for (const ProgrammedBackend& b : before.backends) left_[{before.key, b.address}] = before;
  if (!after) return;
  for (const ProgrammedBackend& b : after->backends) left_.erase({before.key, b.address});
}

Result<> NftDataplane::prepare(std::span<const ProgrammedService> wanted) {
  std::vector<ProgrammedService> changed;
  DnatServices before;
  host_.forget();
  for (const ProgrammedService& service : wanted) {
    if (!nft::is_published(service.key)) continue;
    const auto it = services().find(service.key);
    if (it != services().end() && it->second == service) continue;
    if (it != services().end()) before.insert(*it);
    note_need(service);
    changed.push_back(service);
  }
  if (changed.empty()) return {};
  // Backends that need none must not wait for it. It is tried again, and told, by the upkeep.
  if (!forward_for(sysctls_, need_)) upkeep_.soon();
  flows_.forget();  // what was chosen by the former rules must be counted
  make_early_known(changed);
  LB_CHECK(ruleset_.program(changed, {}, guard()));
  for (const auto& [key, service] : before) note_left(service, &services().at(key));
  for (const ProgrammedService& service : changed) note_fresh(service);
  return {};
}

Result<> NftDataplane::remove(const ServiceKey& key) {
  const auto it = services().find(key);
  if (it == services().end()) return {};
  const ProgrammedService before = it->second;
  LB_CHECK(ruleset_.program({}, {key}, guard()));
  note_left(before, nullptr);
  return {};
}

// A packet passes the rules in one go: whatever was chosen before is in connection tracking by the
// time that it can be read again.
void NftDataplane::settle(Settled done) {
  flows_.forget();
  done({});
}

Result<> NftDataplane::collect() {
  upkeep_.run(Clock::now());
  return {};
}

// While the rules were away senders were taken for the host's own.
Result<std::size_t> NftDataplane::keep_table() {
  LB_TRY(const std::size_t repairs, ruleset_.look(Clock::now()));
  if (repairs > 0) note_all_fresh();
  return repairs;
}

// Interfaces come and go, and so does other people's wish to forward.
Result<std::size_t> NftDataplane::keep_forwarding() {
  if (need_ == ForwardingNeed{}) return 0;
  const auto done = forward_for(sysctls_, need_);
  LB_CHECK(ruleset_.program({}, {}, guard()));
  return done;
}

void NftDataplane::note_fresh(const ProgrammedService& service) {
  if (service.key.protocol != Protocol::Udp) return;
  for (const IpAddress& address : service.addresses)
    if (!address.is_loopback()) fresh_.insert({Protocol::Udp, address, service.key.port});
}

void NftDataplane::note_all_fresh() {
  for (const auto& [key, service] : services()) note_fresh(service);
}

Result<> NftDataplane::renew_udp() {
  if (fresh_.empty()) return {};
  LB_TRY(const std::uint64_t renewed, flows_.renew(fresh_));
  fresh_.clear();
  if (renewed > 0) spdlog::info("dataplane=nft took over udp_flows={} from before", renewed);
  return {};
}

Result<> NftDataplane::end_retired_udp() {
  if (left_.empty()) return {};
  DnatServices known = services();
  std::set<NftFlowCounts::Id> backends;
  for (const auto& [id, service] : left_) {
    known.try_emplace(id.first, service);
    backends.insert(id);
  }
  LB_TRY(const std::uint64_t ended, flows_.end(known, backends));
  left_.clear();
  if (ended > 0) spdlog::info("dataplane=nft ended udp_flows={} of removed backends", ended);
  return {};
}

Result<std::uint64_t> NftDataplane::count_sockets(const ServiceKey& key, const Address& backend) {
  LB_TRY(const auto* counts, flows_.read(services()));
  const auto it = counts->find({key, backend});
  return it == counts->end() ? 0 : it->second;
}

Result<std::uint64_t> NftDataplane::terminate(const ServiceKey& key, const Address& backend) {
  if (!services().contains(key)) return 0;
  return flows_.end(services(), {{key, backend}});
}

std::string dropping_note(const nft::DroppingChain& chain) {
  return fmt::format(
      "the chain {} {} {} drops what it does not accept: outside clients of backends on other "
      "hosts "
      "reach them only if it accepts translated flows (iptables: -m conntrack --ctstatus DNAT -j "
      "ACCEPT, with Docker in its chain DOCKER-USER; nft: ct status dnat accept)",
      chain.family, chain.table, chain.chain);
}

DataplaneInfo NftDataplane::info() const {
  constexpr std::size_t kNotes = 20;
  DataplaneInfo out;
  out.mode = "nft";
  out.used_services = services().size();
  out.notes = upkeep_.repairs();
  out.problems = upkeep_.problems();
  for (const nft::DroppingChain& chain : dropping_) out.notes.push_back(dropping_note(chain));
  std::size_t more = 0;
  for (const auto& [key, service] : services()) {
    out.used_backends += service.backends.size();
    for (const ProgrammedBackend& b : service.backends) {
      const std::string why = nft::refusal(service.addresses, b.address);
      if (why.empty()) continue;
      if (out.notes.size() < kNotes)
        out.notes.push_back(
            fmt::format("{}: backend {}: {}", key.to_string(), b.address.to_string(), why));
      else
        ++more;
    }
  }
  if (more > 0) out.notes.push_back(fmt::format("and {} more backends like these", more));
  return out;
}

// A service and a backend of each kind: is everything there that the rules need?
Result<nft::DnatTable> try_rules(nft::Tables& tables, const NftOptions& options) {
  DnatServices services;
  for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
    ProgrammedService service;
    service.key = {protocol, IpAddress::v4(0), 1};
    service.addresses = {IpAddress::v4(0x0a000001)};
    service.balance = Balance::SourceHash;
    service.backends = {{{IpAddress::v4(0x0a000002), 1}, 1}, {{IpAddress::v4(0x0a000003), 1}, 1}};
    services.emplace(service.key, service);
    service.key.port = 2;
    service.balance = Balance::Random;
    services.emplace(service.key, service);
    service.key.port = 3;
    service.backends.clear();
    services.emplace(service.key, service);
  }
  Result<> checked;
  for (const bool knows_sockets : {true, false}) {
    nft::DnatTable rules(options.table, knows_sockets);
    checked = tables.check(rules.replace(services, true));
    if (checked) return nft::DnatTable(options.table, knows_sockets);
  }
  return fail(
      checked.error().code,
      fmt::format("translate addresses by nf_tables: the kernel does not take the rules "
                  "({}); modprobe nft_chain_nat nft_nat nft_masq nft_ct nft_numgen nft_hash "
                  "nft_reject_inet, or use a kernel that has them",
                  checked.error().context));
}

}  // namespace

Result<std::unique_ptr<Dataplane>> open_nft_dataplane(NftOptions options) {
  LB_TRY(nft::Tables tables, nft::Tables::open());
  LB_TRY(nft::Flows flows, nft::Flows::open());
  LB_TRY(nft::DnatTable rules, try_rules(tables, options));
  LB_TRY(Sysctls sysctls, Sysctls::open(settings_path(options)));
  LB_TRY(NftRuleset ruleset,
         NftRuleset::open(std::move(tables), std::move(rules), options.table, state_path(options)));
  return std::make_unique<NftDataplane>(std::move(ruleset), std::move(flows), std::move(sysctls));
}

bool nft_left_something(const std::string& state_dir) {
  return std::filesystem::exists(state_path({.state_dir = state_dir}));
}

Result<> detach_nft(const NftOptions& options) {
  // Where lbd never was there may be no nf_tables either.
  if (std::filesystem::exists(state_path(options))) {
    LB_TRY(nft::Tables tables, nft::Tables::open());
    LB_CHECK(tables.remove(options.table));
    std::filesystem::remove(state_path(options));
  }
  LB_TRY(Sysctls sysctls, Sysctls::open(settings_path(options)));
  return sysctls.restore();
}

}  // namespace lb
