#include "daemon/app.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <system_error>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "base/host_name.h"
#include "base/own_folder.h"
#include "base/spawn.h"
#include "daemon/feedback.h"
#include "daemon/logging.h"
#include "daemon/notify.h"
#include "daemon/source_factory.h"
#include "daemon/yield_users.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kProcAnswers{60'000};
constexpr milliseconds kReportEvery{1'000};  // counts and weights, to sources that publish them

asio::awaitable<bool> is_cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

bool is_in_use(const Result<FolderLock>& lock) {
  return !lock && lock.error().code == std::errc::resource_unavailable_try_again;
}

Result<FolderLock> lock_folder(const std::string& folder) {
  LB_CHECK(make_folder(folder));
  return FolderLock::take(folder);
}

tl::unexpected<Error> in_use(const Error& error, std::string_view flag) {
  return fail(fmt::format("{}: stop it, or use another folder with {}", error.context, flag));
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
      applied_(io.get_executor()),
      signals_(io),
      addresses_(io.get_executor()),
      endpoints_(io) {
  upkeep_.add("what another dataplane left", milliseconds(0), [this]() -> Result<std::size_t> {
    LB_CHECK(remove_former_dataplane());
    return 0;
  });
}

Result<std::unique_ptr<App>> App::open(asio::io_context& io, Config config, std::string config_name,
                                       AppParts parts) {
  std::unique_ptr<App> app(new App(io, std::move(config), std::move(parts)));
  app->config_name_ = config_name;
  LB_CHECK(app->take_locks());
  LB_CHECK(app->open_fleet());
  LB_CHECK(app->open_engine());
  app->open_health();
  // Services on loopback need none of them: what is amiss with them is told, and tried again, once we run.
  if (auto addresses = read_local_addresses())
    app->engine_->set_local_addresses(*std::move(addresses));
  (void)app->fleet_->before_turn(
      *app->engine_);  // what the fleet drains is drained in the first plan
  app->engine_->apply_all();
  app->operator_ = std::make_unique<Operator>(
      *app->engine_, *app->fleet_,
      DaemonFacts{
          .version = LB_VERSION,
          .config = std::move(config_name),
          .started = app->parts_.clocks.wall(),
          .host_scope = app->config_.dataplane.scope == Scope::Host,
          .problems = [self = app.get()] { return self->problems(); },
          .warnings =
              [self = app.get()] { return self->endpoints_.warnings(self->engine_->reconciler()); },
          .loop = app->parts_.loop_health},
      [self = app.get()] { self->wake(); }, app->parts_.read_listeners);
  LB_TRY(app->api_, ApiServer::open(io, app->config_.daemon.runtime_dir + "/lbd.sock",
                                    *app->operator_, app->api_access()));
  return app;
}

ApiAccess App::api_access() {
  const auto known = [this](const std::string& group) -> std::optional<Gid> {
    if (group.empty()) return std::nullopt;
    const auto gid = resolve_group(group);
    if (!gid) unknown_groups_.push_back(group);
    return gid;
  };
  ApiAccess out;
  out.group = known(config_.api.group);
  out.read_group = known(config_.api.read_group);
  for (const std::string& group : unknown_groups_)
    spdlog::warn("[api]: this host has no group {}", group);
  return out;
}

// Without a state folder nothing can be kept: the kernel balances all the same, and the next lbd reads it.
Result<> App::take_locks() {
  const DaemonConfig& d = config_.daemon;
  // What cannot be seen can be no folder of ours, and is told below.
  if (make_folder(d.state_dir))
    if (auto own = check_own_folder(d.state_dir); !own && !own.error().code) return own;
  auto state = lock_folder(d.state_dir);
  if (is_in_use(state)) return in_use(state.error(), "--state-dir");
  if (state) {
    locks_.push_back(*std::move(state));
    for (const char* folder : {"", "/sources"}) remove_unfinished(d.state_dir + folder);
  } else {
    problems_.set("state_dir", "nothing is saved, so that a restart would know less: " +
                                   state.error().message());
  }
  std::error_code ec;
  LB_CHECK(make_folder(d.runtime_dir));
  LB_CHECK(check_own_folder(d.runtime_dir));
  if (std::filesystem::equivalent(d.state_dir, d.runtime_dir, ec))
    return {};  // flock excludes us, too
  auto runtime = lock_folder(d.runtime_dir);
  if (is_in_use(runtime)) return in_use(runtime.error(), "--runtime-dir");
  if (!runtime) return tl::unexpected(runtime.error());
  locks_.push_back(*std::move(runtime));
  return {};
}

Result<> App::open_fleet() {
  fleet_ = Fleet::open(
      config_.daemon.state_dir, host_name(),
      [this] {
        wake_.notify();
        look_.notify();
      },
      problems_);
  fleet_->set_order_keys(config_);
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

Result<> App::open_engine() {
  FormerSources former;
  SourceSlots slots = open_sources(former);
  LB_TRY(dataplane_, parts_.open_dataplane(io_, config_));
  dataplane_->on_connect_failure([this](const ConnectFailure& f) {
    spdlog::debug("connect failed service={} backend={} errno={}", f.service.to_string(),
                  f.backend.to_string(), f.error);
    if (engine_ && suspects_) on_connect_failure(f);
  });
  LB_TRY(engine_, Engine::open(*dataplane_, config_.daemon.state_dir, engine_settings(config_),
                               reconciler_options(), parts_.clocks, slots, problems_));
  engine_->configure(engine_settings(config_), std::move(slots), std::move(former));
  engine_->catch_up();
  for (std::size_t i = 0; i < config_.sources.size(); ++i)
    make_source(*engine_->slots()[i], config_.sources[i]);
  engine_->save_also(saved_orders(fleet_->orders()));
  engine_->save_in(
      [this](Worker::Job job, Worker::Done done) {
        disk_.run(std::move(job), [this, done = std::move(done)](Result<> saved) {
          done(std::move(saved));
          wake_.notify();  // what has changed meanwhile is next
        });
      },
      [this](std::chrono::milliseconds within) { return disk_.wait(within); });
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
  suspects_.emplace(io_, [this](const SuspectProber::Looked& looked) { return on_look(looked); });
}

// A failure that a client can make at will is a hint: lbd looks itself.
void App::on_connect_failure(const ConnectFailure& failure) {
  using Kind = ConnectFailure::Kind;
  const bool hint = (failure.kind == Kind::Refused && !failure.plain) ||
                    failure.kind == Kind::TimedOut || failure.kind == Kind::SynRetransmitted ||
                    failure.kind == Kind::Other;
  const bool wanted = tell_failure(*engine_, failure);
  if (wanted || (hint && config_.dataplane.max_ejected > 0)) suspects_->look(failure);
  if (failure.look_after) suspects_->look_later(failure, *failure.look_after);
}

std::optional<std::chrono::milliseconds> App::on_look(const SuspectProber::Looked& looked) {
  using Look = Dataplane::Look;
  if (looked.found) return dataplane_->looked(looked.service, looked.backend, Look::Well);
  const ConnectFailure own = as_met(looked);
  const bool hangs = own.kind != ConnectFailure::Kind::Refused;
  spdlog::info("service={} backend={} lbd cannot connect either: {}", own.service.to_string(),
               own.backend.to_string(), std::generic_category().message(own.error));
  if (!looked.quick || own.kind != ConnectFailure::Kind::TimedOut)
    (void)tell_failure(*engine_, own);
  return dataplane_->looked(looked.service, looked.backend, hangs ? Look::Hangs : Look::Refused);
}

ReconcilerOptions App::reconciler_options() {
  Yielding yielding = resolve_yield_to(config_.dataplane.yield_to);
  unknown_users_ = std::move(yielding.unknown);
  for (const std::string& name : unknown_users_)
    spdlog::warn("dataplane.yield_to: this host has no user {}", name);
  return {.shadow = config_.dataplane.on_local_listener == OnLocalListener::Shadow,
          .read_listeners =
              [this] {
                auto listeners = parts_.read_listeners();
                if (listeners) process_names_.keep_only(*listeners, parts_.clocks.steady());
                return listeners;
              },
          .name_listener = [this](const Listener& l) { return process_names_.of(l); },
          .random =
              [engine = std::minstd_rand(std::random_device{}())]() mutable {
                return static_cast<std::uint32_t>(engine());
              },
          .yield_to = std::move(yielding.to)};
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
  if (config_.dataplane.mode != DataplaneMode::None) {
    endpoints_.want(dialled_endpoints(config_));
    spawn(io_, "endpoints", [this] { return endpoints_.follow(); });
  }
  spawn(io_, "signals", [this] { return signal_loop(); });
  if (const auto limit = service_watchdog())
    spawn(io_, "watchdog", [this, limit = *limit] { return watchdog_loop(limit); });
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
    if (fleet_->before_turn(*engine_)) co_await asio::post(asio::use_awaitable);
    if (std::exchange(health_changed_, false)) engine_->set_health(health_->verdicts());
    while (engine_->turn(kBatch)) co_await asio::post(asio::use_awaitable);
    // An updater does not use backends: each listener looks for itself.
    if (config_.relay.listen.empty() || fleet_applies()) health_->watch(engine_->checked());
    if (fleet_->after_turn(*engine_)) look_.notify();
    report_if_wanted();
    look_at_owners_if_wanted();
    tell_endpoints();
    find_names();
    upkeep_.run(parts_.clocks.steady());
    record_sources_if_changed();
    if (engine_->take_applied()) applied_.notify();
    const SteadyTime next = engine_->next_wakeup();
    const Event::Woken woken = co_await wake_.wait(next);
    if (woken == Event::Woken::Cancelled) co_return;
  }
}

// A service where lbd itself connects, by a name: said when it comes to be so.
void App::tell_endpoints() {
  auto now = endpoints_.warnings(engine_->reconciler());
  if (now == endpoint_warnings_) return;
  for (const std::string& text : now)
    if (std::find(endpoint_warnings_.begin(), endpoint_warnings_.end(), text) ==
        endpoint_warnings_.end())
      spdlog::warn("{}", text);
  endpoint_warnings_ = std::move(now);
}

void App::find_names() {
  auto sockets = process_names_.take_wanted(parts_.clocks.steady());
  if (sockets.empty()) return;
  spawn(io_, "process names",
        [this, sockets = std::move(sockets)] { return walk_processes(sockets); });
}

asio::awaitable<void> App::walk_processes(std::map<std::uint64_t, Uid> sockets) {
  const SteadyTime began = parts_.clocks.steady();
  const std::function<Result<SocketNames>()> find = [sockets = std::move(sockets)] {
    return Result<SocketNames>(find_processes("/proc", sockets, ProcessNames::kLimit));
  };
  auto names = co_await beside(find, kProcAnswers);
  if (stopping_) co_return;
  process_names_.found(names ? *std::move(names) : SocketNames{}, began, parts_.clocks.steady());
  engine_->process_named();
  wake_.notify();
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
  for (std::string& problem : problems_.all()) out.push_back({"state", std::move(problem)});
  for (const Drain& drain : engine_->drains().all())
    if (drain.recovered)
      out.push_back(
          {"drains",
           fmt::format("the drain of {0} was lost with drains.json, and is in force because "
                       "the kernel knows of it: `lbctl undrain {0}{1}` ends it, `lbctl "
                       "drain {0}{1}` confirms it",
                       to_string(drain.target),
                       drain.service ? " --service " + *drain.service : "")});
  for (std::string& problem : fleet_->problems()) out.push_back({"fleet", std::move(problem)});
  for (const std::string& name : unknown_users_)
    out.push_back({"lbd", fmt::format("dataplane.yield_to: this host has no user {}: his listeners "
                                      "keep no port",
                                      name)});
  for (const std::string& name : unknown_groups_)
    out.push_back(
        {"lbd", fmt::format("[api]: this host has no group {}: nobody is let in by it", name)});
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
  while (wants_reports(engine_->slots())) {
    co_await tell_reports(*engine_);
    // Weights are news, counts can wait.
    const Event::Woken woken =
        co_await applied_.wait(std::chrono::steady_clock::now() + kReportEvery);
    if (woken == Event::Woken::Cancelled) co_return;
  }
  reporting_ = false;
}

void App::report_if_wanted() {
  if (reporting_ || !wants_reports(engine_->slots())) return;
  reporting_ = true;
  spawn(io_, "reports", [this] { return report_loop(); });
}

asio::awaitable<void> App::fleet_loop() {
  asio::steady_timer pause(io_);
  for (;;) {
    co_await fleet_->look(*engine_);
    pause.expires_after(Fleet::kPause);
    const Event::Woken woken =
        co_await look_.wait(std::chrono::steady_clock::now() + fleet_->pace());
    if (woken == Event::Woken::Cancelled) co_return;
    const auto [ec] = co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
  }
}

}  // namespace lb
