// The IPVS dataplane's class, for the files that implement it: ipvs_dataplane.cpp programs, ipvs_observe.cpp reads, ipvs_collect.cpp
// looks after what was programmed. Everybody else takes ipvs_dataplane.h.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/early_connections.h"
#include "dataplane/forwarding.h"
#include "dataplane/host_addresses.h"
#include "dataplane/ipvs_dataplane.h"
#include "dataplane/ipvs_journal.h"
#include "dataplane/ipvs_mirror.h"
#include "dataplane/ipvs_retirement.h"
#include "dataplane/ipvs_tables.h"
#include "dataplane/sysctls.h"

namespace lb {

// When the last virtual service of a namespace goes, IPVS unregisters its hooks and resets every connection. This one,
// where nobody connects, keeps them.
[[nodiscard]] inline ServiceKey ipvs_sentinel() {
  return {Protocol::Tcp, IpAddress::v4(0x7fff0001), 1};
}

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

  Result<std::vector<ServiceKey>> keys() override;
  Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  Result<> prepare(std::span<const ProgrammedService> services) override;
  Result<> upsert(const ProgrammedService& service) override;
  Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override { done({}); }  // IPVS reads weights under RCU at each choice
  Result<> collect() override;
  Result<std::uint64_t> count_sockets(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  // IPVS does not tell: a client meets the backend's refusal or silence itself.
  void on_connect_failure(std::function<void(const ConnectFailure&)>) override {}
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  using Clock = std::chrono::steady_clock;

  struct Plan {
    IpvsEntry entry;
    IpvsTarget target;
    std::set<ipvs::ServiceId> foreign;  // wanted, and somebody else's: left out of the other two
  };
  struct Listed {
    std::set<Address> backends;                // of the service as last upserted
    std::map<Address, std::string> refused;    // of these, and why
    std::map<Address, std::uint32_t> weights;  // of the refused: nobody else remembers
  };

  [[nodiscard]] bool serves(const ServiceKey& key) const {
    return !options_.outside_only || is_published(key);
  }
  [[nodiscard]] bool is_there(const ServiceKey& key) const {
    return key != ipvs_sentinel() && !removed_.contains(key) && serves(key);
  }
  [[nodiscard]] static bool is_all_foreign(const Plan& plan) {
    return !plan.foreign.empty() && plan.entry.ids.empty();
  }
  [[nodiscard]] std::set<ipvs::ServiceId> all_ids() const;
  Result<> use_conntrack();
  Result<> adopt_entries();
  Result<> keep_sentinel();
  Result<IpvsEntry> entry_for(const ProgrammedService& service, IpvsTarget& target) const;
  Result<Plan> plan_for(const ProgrammedService& service);
  Result<> look_for_foreign();
  void note_early(const Result<>& done);
  Result<bool> note_entry(const IpvsEntry& entry);
  Result<> apply_rules();
  Result<> give_up_foreign(const ServiceKey& key, const std::set<ipvs::ServiceId>& foreign);
  void note_forwarding(const IpvsEntry& entry, const std::set<Address>& backends);
  [[nodiscard]] nft::IpvsRules rules() const;
  ObservedService observe(const IpvsEntry& entry) const;
  void observe_server(const IpvsEntry& entry, const ipvs::ObservedServer& server,
                      std::map<Address, ObservedBackend>& out) const;
  Result<> retire_some(Clock::time_point now);
  Result<bool> retire_servers(std::span<const ipvs::ServiceId> ids,
                              const std::set<Address>& listed);
  Result<> drop_leftovers(Clock::time_point now);
  Result<> look_around();
  Result<> note_tables();
  void note_repair(std::string_view what);

  IpvsOptions options_;
  IpvsJournal journal_;
  Sysctls sysctls_;
  IpvsMirror mirror_;
  IpvsTables tables_;
  EarlyConnections early_;
  HostAddresses host_;
  IpvsScope scope_;
  std::map<ServiceKey, Listed> listed_;
  std::set<ServiceKey> fresh_;         // read by start(), and not again by the first read_some()
  std::set<ipvs::ServiceId> foreign_;  // virtual services of others, when last looked for
  Clock::time_point foreign_looked_;
  std::set<ServiceKey> removed_;  // by remove(): they go when their connections have
  std::set<ServiceKey> leaving_;  // have servers that are not listed any more, or are in removed_
  IpvsRetirement retirement_;
  ForwardingNeed forwarding_;
  Clock::time_point looked_;
  // Of an lbd that served local clients by IPVS, where the hooks do now: they go once those serve, or at the latest then.
  std::optional<Clock::time_point> drop_leftovers_;
  std::uint64_t tables_written_ = 0;  // by tables_, at the last collect()
  std::uint64_t repairs_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace lb
