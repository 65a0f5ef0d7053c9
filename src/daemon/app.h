// The composition root: owns everything that runs, on one io_context and one thread. Puts timers,
// signals and coroutines around the engine, and decides nothing itself.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "api/server.h"
#include "base/event.h"
#include "base/file.h"
#include "base/upkeep.h"
#include "base/worker.h"
#include "daemon/config.h"
#include "daemon/endpoint_names.h"
#include "daemon/engine.h"
#include "daemon/fleet.h"
#include "daemon/operator.h"
#include "daemon/saved_problems.h"
#include "daemon/source_factory.h"
#include "daemon/source_identity.h"
#include "health/monitor.h"
#include "health/suspects.h"
#include "reconcile/local_addresses.h"
#include "reconcile/process_names.h"

namespace lb {

[[nodiscard]] EngineSettings engine_settings(const Config& config);

// What a test replaces. The defaults are in commands.cpp.
struct AppParts {
  std::function<Result<std::unique_ptr<Dataplane>>(asio::io_context&, const Config&)>
      open_dataplane;
  // Called once, when all that is wanted is programmed: removes what another dataplane left.
  std::function<Result<>(const Config&, const std::string& mode)> remove_former_dataplane;
  std::function<std::unique_ptr<Source>(const SourceContext&, const SourceConfig&,
                                        std::optional<Snapshot>)>
      make_source;
  std::function<Result<std::vector<Listener>>()> read_listeners = lb::read_listeners;
  // How SIGHUP gets the new configuration, with the flags of the command line laid over it. Called
  // beside the loop.
  std::function<Result<Config>()> reload;
  std::function<LoopHealth()> loop_health = [] { return LoopHealth{}; };
  // Ends when a source has nothing that it could serve.
  bool exit_without_config = false;
  Clocks clocks;
};

class App {
 public:
  // In this order: locks, saved state, dataplane, first plan applied, then the API. Nothing serves or
  // says ready before the kernel has what is known so far. `io` outlives the app.
  [[nodiscard]] static Result<std::unique_ptr<App>> open(asio::io_context& io, Config config,
                                                         std::string config_name, AppParts parts);

  // Starts the coroutines; io.run() does the rest and returns after SIGTERM or SIGINT.
  void start();
  // `stopped` is called when SIGTERM or SIGINT has ended everything in order.
  void on_stopped(std::function<void()> stopped) { stopped_ = std::move(stopped); }
  // After io.run(): saves, and detaches if the configuration says so.
  [[nodiscard]] Result<> finish(const std::function<Result<>(const Config&)>& detach);

  [[nodiscard]] Control& control() { return *operator_; }
  [[nodiscard]] Engine& engine() { return *engine_; }
  // False: the configuration is being written; try again soon.
  bool reload();
  void stop();
  // Another turn soon, as after a delivery.
  void wake() { wake_.notify(); }

 private:
  // After this many writes others get their turn, if they have not had it before.
  static constexpr std::size_t kBatch = 256;

  App(asio::io_context& io, Config config, AppParts parts);

  [[nodiscard]] Result<> take_locks();
  [[nodiscard]] ApiAccess api_access();
  [[nodiscard]] Result<> open_engine();
  void open_health();
  void on_connect_failure(const ConnectFailure& failure);
  std::optional<std::chrono::milliseconds> on_look(const SuspectProber::Looked& looked);
  [[nodiscard]] ReconcilerOptions reconciler_options();
  void start_source(const std::shared_ptr<SourceSlot>& slot);
  void report_if_wanted();
  [[nodiscard]] Result<> remove_former_dataplane();
  [[nodiscard]] std::vector<OwnProblem> problems() const;
  void tell_endpoints();
  void find_names();
  void look_at_owners_if_wanted();  // app_owners.cpp
  [[nodiscard]] Result<> open_fleet();
  [[nodiscard]] bool fleet_applies() const;
  void save_all();
  void follow_log_level();
  void end_without_config(const SourceSlot& slot);

  // app_sources.cpp: which source continues which, at the start and when the configuration changes.
  [[nodiscard]] SourceSlots open_sources(FormerSources& former);
  using FillSlot = std::function<void(SourceSlot&)>;
  [[nodiscard]] std::shared_ptr<SourceSlot> make_slot(const SourceConfig& source,
                                                      const FillSlot& fill);
  // It begins with what the slot has.
  void make_source(SourceSlot& slot, const SourceConfig& config);
  void keep_what_cannot_change(Config& config) const;
  void apply_config(Config config);
  void record_sources_if_changed();
  [[nodiscard]] bool take_reloaded(Result<Config> config);

  asio::awaitable<void> engine_loop();
  asio::awaitable<void> source_loop(std::shared_ptr<SourceSlot> slot);
  asio::awaitable<void> report_loop();
  asio::awaitable<void> fleet_loop();
  asio::awaitable<void> owner_loop();
  asio::awaitable<void> name_owners(std::set<Uid> users);
  asio::awaitable<void> signal_loop();
  asio::awaitable<void> reload_beside();
  asio::awaitable<void> walk_processes(std::map<std::uint64_t, Uid> sockets);
  asio::awaitable<void> watchdog_loop(std::chrono::microseconds limit);

  // Destroyed from the bottom up: the API before the engine, the engine before its dataplane, and the
  // locks last of all.
  asio::io_context& io_;
  Config config_;
  std::string config_name_;  // file, or the preset's words
  AppParts parts_;
  SourceIdentities recorded_;  // in state_dir: those configured, and former ones still in force
  std::optional<SteadyTime> record_again_;  // the last attempt failed
  DaemonConfig logging_;                    // as set up: the level may be a source's
  std::vector<FolderLock> locks_;
  ProcessNames process_names_;
  std::vector<std::string> unknown_users_;   // of dataplane.yield_to
  std::vector<std::string> unknown_groups_;  // of [api]
  SavedProblems problems_;
  std::optional<HealthMonitor> health_;
  std::optional<SuspectProber> suspects_;  // backends that clients could not connect to
  bool health_changed_ = false;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Dataplane> dataplane_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Operator> operator_;
  Worker disk_;  // after the engine: when it is gone, nobody tells the engine what was saved
  Event wake_;
  bool former_removed_ = false;
  bool reporting_ = false;                      // report_loop() runs
  bool looking_at_owners_ = false;              // owner_loop() runs
  bool naming_owners_ = false;                  // name_owners() runs
  std::vector<std::string> endpoint_warnings_;  // as logged
  bool reloading_ = false;                      // reload_beside() runs
  bool reload_again_ = false;
  bool stopping_ = false;
  Event look_;     // the fleet's orders have changed
  Event applied_;  // to the kernel: reports are due
  asio::signal_set signals_;
  LocalAddresses addresses_;
  EndpointNames endpoints_;
  Upkeep upkeep_{"lbd"};
  std::optional<ApiServer> api_;
  std::function<void()> stopped_ = [] {};
};

}  // namespace lb
