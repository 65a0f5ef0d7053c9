#include "daemon/app.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/host_name.h"
#include "base/spawn.h"
#include "daemon/feedback.h"
#include "daemon/logging.h"
#include "daemon/notify.h"
#include "daemon/source_factory.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

// After this many writes others get their turn: some 10 ms.
constexpr std::size_t kBatch = 256;
// A plan in progress is finished at SIGTERM, but systemd and people must not be kept waiting.
constexpr std::chrono::seconds kLongestFinish{2};
// For answers that are on their way to lbctl.
constexpr milliseconds kGoodbye{50};
constexpr milliseconds kReportEvery{1'000};  // counts and weights, to sources that publish them

EngineSettings settings_of(const Config& config) {
  return {.drain_timeout = config.drain.timeout,
          .terminate_on_timeout = config.drain.on_timeout == OnTimeout::Terminate,
          .scope_all = config.dataplane.scope == Scope::All};
}

asio::awaitable<bool> is_cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

Result<FolderLock> lock_folder(const std::string& folder, std::string_view flag) {
  LB_CHECK(make_folder(folder));
  auto taken = FolderLock::take(folder);
  if (!taken && taken.error().code == std::errc::resource_unavailable_try_again)
    return fail(
        fmt::format("{}: stop it, or use another folder with {}", taken.error().context, flag));
  return taken;
}

}  // namespace

App::App(asio::io_context& io, Config config, AppParts parts)
    : io_(io),
      config_(std::move(config)),
      parts_(std::move(parts)),
      logging_(config_.daemon),
      disk_(io, "lbd-disk"),
      wake_(io.get_executor()),
      look_(io.get_executor()),
      signals_(io),
      addresses_(io.get_executor()) {
  upkeep_.add("what another dataplane left", milliseconds(0), [this]() -> Result<std::size_t> {
    LB_CHECK(remove_former_dataplane());
    return 0;
  });
}

Result<std::unique_ptr<App>> App::open(asio::io_context& io, Config config, std::string config_name,
                                       AppParts parts) {
  std::unique_ptr<App> app(new App(io, std::move(config), std::move(parts)));
  LB_CHECK(app->take_locks());
  LB_CHECK(app->open_fleet());
  const SnapshotStore store(app->config_.daemon.state_dir + "/sources");
  LB_CHECK(app->open_engine(store));
  app->open_health();
  // Services on loopback need none of them: what is amiss with them is told, and tried again, once we run.
  if (auto addresses = read_local_addresses())
    app->engine_->set_local_addresses(*std::move(addresses));
  app->engine_->apply_all();
  app->operator_ = std::make_unique<Operator>(
      *app->engine_, *app->fleet_,
      DaemonFacts{.version = LB_VERSION,
                  .config = std::move(config_name),
                  .started = app->parts_.clocks.wall(),
                  .host_scope = app->config_.dataplane.scope == Scope::Host,
                  .problems = [self = app.get()] { return self->problems(); }},
      [self = app.get()] { self->wake(); }, app->parts_.read_listeners);
  LB_TRY(app->api_,
         ApiServer::open(io, app->config_.daemon.runtime_dir + "/lbd.sock", *app->operator_));
  return app;
}

Result<> App::take_locks() {
  const DaemonConfig& d = config_.daemon;
  LB_TRY(FolderLock state, lock_folder(d.state_dir, "--state-dir"));
  locks_.push_back(std::move(state));
  std::error_code ec;
  LB_CHECK(make_folder(d.runtime_dir));
  if (std::filesystem::equivalent(d.state_dir, d.runtime_dir, ec))
    return {};  // flock excludes us, too
  LB_TRY(FolderLock runtime, lock_folder(d.runtime_dir, "--runtime-dir"));
  locks_.push_back(std::move(runtime));
  return {};
}

Result<> App::open_fleet() {
  LB_TRY(fleet_, Fleet::open(config_.daemon.state_dir, host_name(), [this] {
           wake_.notify();
           look_.notify();
         }));
  fleet_->set_applies(fleet_applies());
  if (config_.relay.listen.empty()) return {};
  return fleet_->serve(io_, config_.relay, LB_VERSION);
}

// An updater alone has no connections that could be drained.
bool App::fleet_applies() const {
  return config_.dataplane.mode != DataplaneMode::None ||
         std::any_of(config_.sources.begin(), config_.sources.end(), [](const SourceConfig& s) {
           return std::holds_alternative<RelaySourceConfig>(s.settings);
         });
}

Result<> App::open_engine(const SnapshotStore& store) {
  SourceSlots slots;
  for (const SourceConfig& source : config_.sources) slots.push_back(make_slot(source, store));
  LB_TRY(dataplane_, parts_.open_dataplane(io_, config_));
  dataplane_->on_connect_failure([this](const ConnectFailure& f) {
    spdlog::debug("connect failed service={} backend={} errno={}", f.service.to_string(),
                  f.backend.to_string(), f.error);
    if (engine_) tell_failure(*engine_, f);
  });
  LB_TRY(engine_, Engine::open(*dataplane_, config_.daemon.state_dir, settings_of(config_),
                               reconciler_options(), parts_.clocks, std::move(slots)));
  engine_->save_in([this](Worker::Job job, Worker::Done done) {
    disk_.run(std::move(job), [this, done = std::move(done)](Result<> saved) {
      done(std::move(saved));
      wake_.notify();  // what has changed meanwhile is next
    });
  });
  return {};
}

void App::open_health() {
  health_.emplace(
      io_,
      [this] {
        health_changed_ = true;
        wake_.notify();
      },
      parts_.clocks.wall);
  health_->restore(engine_->down());
}

ReconcilerOptions App::reconciler_options() {
  return {.shadow = config_.dataplane.on_local_listener == OnLocalListener::Shadow,
          .read_listeners =
              [this] {
                auto listeners = parts_.read_listeners();
                if (listeners) process_names_.keep_only(*listeners);
                return listeners;
              },
          .name_process = [this](std::uint64_t inode) { return process_names_.of(inode); },
          .random =
              [engine = std::minstd_rand(std::random_device{}())]() mutable {
                return static_cast<std::uint32_t>(engine());
              }};
}

std::shared_ptr<SourceSlot> App::make_slot(const SourceConfig& source, const SnapshotStore& store) {
  auto slot = std::make_shared<SourceSlot>(source.name, type_of(source), ports_for(source, config_),
                                           config_.guard);
  if (auto loaded = slot->load(store); !loaded)
    spdlog::error("source={} saved snapshot is not used: {}", source.name,
                  loaded.error().message());
  std::optional<Snapshot> saved;
  if (slot->snapshot()) saved = *slot->snapshot();
  const SourceContext context{.io = io_,
                              .clocks = parts_.clocks,
                              .orders = fleet_->orders(),
                              .orders_changed = [this] { fleet_->orders_changed(); },
                              .node = fleet_->node()};
  slot->source = parts_.make_source(context, source, std::move(saved));
  return slot;
}

void App::start() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) signals_.add(signal);
  spawn(io_, "engine", [this] { return engine_loop(); });
  spawn(io_, "fleet", [this] { return fleet_loop(); });
  spawn(io_, "addresses", [this] {
    return addresses_.follow([this](std::vector<IpAddress> addresses) {
      engine_->set_local_addresses(std::move(addresses));
      wake_.notify();
    });
  });
  spawn(io_, "signals", [this] { return signal_loop(); });
  for (const auto& slot : engine_->slots()) start_source(slot);
  if (auto told = notify_service_manager("READY=1"); !told)
    spdlog::warn("{}", told.error().message());
  spdlog::info("ready version={} dataplane={} sources={}", LB_VERSION, dataplane_->info().mode,
               engine_->slots().size());
}

// spawn() that can be cancelled alone, for sources that a reload takes away.
void App::start_source(const std::shared_ptr<SourceSlot>& slot) {
  asio::co_spawn(io_, source_loop(slot),
                 asio::bind_cancellation_slot(slot->stop.slot(),
                                              [this, slot](const std::exception_ptr& error) {
                                                if (error)
                                                  root_ended(io_, "source " + slot->name(), error);
                                              }));
}

asio::awaitable<void> App::source_loop(std::shared_ptr<SourceSlot> slot) {
  co_await asio::this_coro::throw_if_cancelled(false);
  for (;;) {
    const Result<Snapshot> snapshot = co_await slot->source->next();
    bool cancelled = co_await is_cancelled();
    if (cancelled) co_return;
    engine_->deliver(*slot, snapshot);
    follow_log_level();
    if (parts_.exit_without_config) end_without_config(*slot);
    wake_.notify();
    // A source that fails at once must not keep the loop from everybody else.
    co_await asio::post(asio::use_awaitable);
    cancelled = co_await is_cancelled();
    if (cancelled) co_return;
  }
}

asio::awaitable<void> App::engine_loop() {
  for (;;) {
    fleet_->before_turn(*engine_);
    if (std::exchange(health_changed_, false)) engine_->set_health(health_->verdicts());
    while (engine_->turn(kBatch)) co_await asio::post(asio::use_awaitable);
    // An updater does not use backends: each listener looks for itself.
    if (config_.relay.listen.empty() || fleet_applies()) health_->watch(engine_->checked());
    fleet_->after_turn(*engine_);
    report_if_wanted();
    upkeep_.run(parts_.clocks.steady());
    if (engine_->take_applied()) tell_reports(*engine_);  // weights are news, counts can wait
    const SteadyTime next = engine_->next_wakeup();
    const Event::Woken woken = co_await wake_.wait(next);
    if (woken == Event::Woken::Cancelled) co_return;
  }
}

Result<> App::remove_former_dataplane() {
  if (former_removed_ || !engine_->serves_all() || !parts_.remove_former_dataplane) return {};
  LB_CHECK(parts_.remove_former_dataplane(config_, dataplane_->info().mode));
  former_removed_ = true;
  return {};
}

std::vector<OwnProblem> App::problems() const {
  std::vector<OwnProblem> out;
  for (std::string& problem : upkeep_.problems()) out.push_back({"lbd", std::move(problem)});
  if (!addresses_.problem().empty())
    out.push_back({"addresses", "services on wildcard addresses do not follow the host: " +
                                    addresses_.problem()});
  return out;
}

// Merlion reads its log level from etcd, too.
void App::follow_log_level() {
  DaemonConfig wanted = config_.daemon;
  wanted.log_level = log_level_of(engine_->slots(), wanted.log_level);
  if (wanted == logging_) return;
  if (wanted.log_level != logging_.log_level)
    spdlog::info("log_level={}", to_string(wanted.log_level));
  setup_logging(wanted);
  logging_ = wanted;
}

// As Merlion does: nothing to do, so the process ends. Once something was served it never ends for this.
void App::end_without_config(const SourceSlot& slot) {
  const SourceStatus status = slot.source->status();
  const bool serves = slot.snapshot() != nullptr && !slot.snapshot()->services.empty();
  if (serves || !(status.unconfigured || status.unreachable)) return;
  spdlog::critical("source={} {}; ending, as --exit-without-config says", slot.name(),
                   status.unconfigured ? "no valid configuration found in etcd"
                                       : "no etcd endpoint answers: " + status.error);
  io_.stop();
}

// Sources that publish counts; where there are none nobody wakes up for them.
asio::awaitable<void> App::report_loop() {
  asio::steady_timer timer(io_);
  while (wants_reports(engine_->slots())) {
    tell_reports(*engine_);
    timer.expires_after(kReportEvery);
    const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
  }
  reporting_ = false;
}

void App::report_if_wanted() {
  if (reporting_ || !wants_reports(engine_->slots())) return;
  reporting_ = true;
  spawn(io_, "reports", [this] { return report_loop(); });
}

asio::awaitable<void> App::fleet_loop() {
  for (;;) {
    fleet_->look(*engine_);
    const Event::Woken woken =
        co_await look_.wait(std::chrono::steady_clock::now() + fleet_->pace());
    if (woken == Event::Woken::Cancelled) co_return;
  }
}

asio::awaitable<void> App::signal_loop() {
  for (;;) {
    const auto [error, signal] = co_await signals_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    if (signal != SIGHUP) break;
    reload();
  }
  stop();
  asio::steady_timer goodbye(io_, kGoodbye);
  co_await goodbye.async_wait(asio::as_tuple(asio::use_awaitable));
  stopped_();
  io_.stop();
}

void App::stop() {
  spdlog::info("stopping");
  if (auto told = notify_service_manager("STOPPING=1"); !told)
    spdlog::warn("{}", told.error().message());
  for (const auto& slot : engine_->slots()) slot->stop.emit(asio::cancellation_type::terminal);
  fleet_->stop();
  if (api_) api_->stop();
  const auto deadline = std::chrono::steady_clock::now() + kLongestFinish - kGoodbye;
  while (engine_->turn(kBatch) && std::chrono::steady_clock::now() < deadline) {
  }
}

Result<> App::finish(const std::function<Result<>(const Config&)>& detach) {
  save_all();
  if (!config_.dataplane.detach_on_exit) return {};
  api_.reset();
  operator_.reset();
  health_.reset();
  engine_.reset();
  dataplane_.reset();
  return detach(config_);
}

void App::save_all() {
  disk_.wait();
  engine_->save_all();
}

void App::reload() {
  auto config = parts_.reload();
  if (!config) {
    spdlog::error("reload rejected, the configuration in force stays: {}",
                  config.error().message());
    return;
  }
  apply_config(*std::move(config));
}

// What cannot change while we run stays as it was, and is named.
void App::keep_what_cannot_change(Config& config) const {
  for (const auto& [name, differs] :
       {std::pair("[daemon] state_dir", config.daemon.state_dir != config_.daemon.state_dir),
        std::pair("[daemon] runtime_dir", config.daemon.runtime_dir != config_.daemon.runtime_dir),
        std::pair("[dataplane]", config.dataplane != config_.dataplane),
        std::pair("[relay]", config.relay != config_.relay)})
    if (differs) spdlog::warn("reload: {} changes only at the next start", name);
  config.daemon.state_dir = config_.daemon.state_dir;
  config.daemon.runtime_dir = config_.daemon.runtime_dir;
  config.dataplane = config_.dataplane;
  config.relay = config_.relay;
}

void App::apply_config(Config config) {
  keep_what_cannot_change(config);
  save_all();  // a source with new settings starts from what its predecessor knew
  const SourceSlots before = engine_->slots();
  const Config old = std::exchange(config_, std::move(config));
  const SnapshotStore store(config_.daemon.state_dir + "/sources");
  SourceSlots slots;
  SourceSlots fresh;
  for (const SourceConfig& source : config_.sources) {
    const auto same = std::find(old.sources.begin(), old.sources.end(), source);
    if (same != old.sources.end()) {
      slots.push_back(before[static_cast<std::size_t>(same - old.sources.begin())]);
      if (old.guard != config_.guard) slots.back()->set_guard(config_.guard);
    } else {
      slots.push_back(make_slot(source, store));
      fresh.push_back(slots.back());
    }
  }
  for (const auto& slot : before)
    if (std::find(slots.begin(), slots.end(), slot) == slots.end())
      slot->stop.emit(asio::cancellation_type::terminal);
  engine_->configure(settings_of(config_), std::move(slots));
  fleet_->set_applies(fleet_applies());
  follow_log_level();
  for (const auto& slot : fresh) start_source(slot);
  spdlog::info("reloaded sources={} new={}", engine_->slots().size(), fresh.size());
  wake_.notify();
}

}  // namespace lb
