// What operators ask, answered from the engine: the daemon's side of api/control.h.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/control.h"
#include "daemon/engine.h"
#include "daemon/fleet.h"

namespace lb {

struct DaemonFacts {
  std::string version;
  std::string config;  // file, or the preset's name
  SysTime started;
  bool host_scope = true;
  // What the daemon itself cannot do for now: no dataplane and no source has it.
  std::function<std::vector<OwnProblem>()> problems = [] { return std::vector<OwnProblem>{}; };
  std::function<std::vector<std::string>()> warnings = [] { return std::vector<std::string>{}; };
  std::function<LoopHealth()> loop = [] { return LoopHealth{}; };
};

class Operator final : public Control {
 public:
  // `engine` and `fleet` outlive this. `changed` makes the loop take another turn soon.
  Operator(Engine& engine, Fleet& fleet, DaemonFacts facts, std::function<void()> changed,
           std::function<Result<std::vector<Listener>>()> read_listeners)
      : engine_(engine),
        fleet_(fleet),
        facts_(std::move(facts)),
        changed_(std::move(changed)),
        read_listeners_(std::move(read_listeners)) {}

  asio::awaitable<Result<std::vector<ServiceView>>> list(std::string filter) override;
  asio::awaitable<Result<Status>> status() override;
  [[nodiscard]] Result<std::vector<SourceView>> sources() override;
  [[nodiscard]] Result<Explanation> explain(ServiceKey to) override;
  asio::awaitable<Result<std::vector<DrainedBackend>>> drain(DrainRequest request) override;
  asio::awaitable<Result<std::vector<DrainedBackend>>> undrain(DrainTarget what) override;
  [[nodiscard]] Result<std::vector<DrainedBackend>> drain_progress(DrainTarget what) override;
  [[nodiscard]] Result<std::vector<relay::ListenerView>> listeners() override;
  asio::awaitable<Result<relay::FleetProgress>> drain_fleet(DrainTarget what) override;
  asio::awaitable<Result<relay::FleetProgress>> undrain_fleet(DrainTarget what) override;
  [[nodiscard]] Result<relay::FleetProgress> fleet_progress(DrainTarget what) override;
  [[nodiscard]] std::vector<OrderKeys::View> order_keys() override;
  [[nodiscard]] Result<std::string> trust(const std::string& what, bool forget) override;
  asio::awaitable<Result<Accepted>> accept(std::string source) override;

 private:
  // The work of drain(), undrain() and accept() before the kernel hears of it; nothing in it suspends.
  [[nodiscard]] Result<Drain> begin_drain(const DrainRequest& request);
  [[nodiscard]] Result<Drain> end_drain(const DrainTarget& what);
  [[nodiscard]] Result<Accepted> begin_accept(const std::string& source);
  // The kernel has all that is wanted, or it was refused.
  asio::awaitable<void> applied();

  // All services; `error`: why some have no counts.
  asio::awaitable<std::vector<ServiceView>> read_views(std::optional<Error>& error,
                                                       std::string filter);
  [[nodiscard]] std::vector<ServiceKey> known() const;
  [[nodiscard]] std::optional<ServiceView> view_of(const ServiceKey& key,
                                                   const Observed& observed) const;
  [[nodiscard]] bool is_of_fleet(const Drain& wanted) const;
  [[nodiscard]] Result<std::vector<DrainedBackend>> covered_by(const Drain& order);
  [[nodiscard]] std::chrono::milliseconds drain_timeout_of(const Drain& order) const;
  [[nodiscard]] Result<> check_programmed(const std::vector<DrainedBackend>& backends) const;
  void add_problems(Status& status, const std::vector<ServiceView>& services) const;
  void add_failures(Status& status) const;
  void add_warnings(Status& status) const;

  Engine& engine_;
  Fleet& fleet_;
  DaemonFacts facts_;
  std::function<void()> changed_;
  std::function<Result<std::vector<Listener>>()> read_listeners_;
};

}  // namespace lb
