#include "daemon/operator.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/filter.h"
#include "base/event.h"
#include "daemon/slices.h"
#include "daemon/views.h"

namespace lb {
namespace {

Result<Drain> to_drain(const DrainTarget& what) {
  Drain drain;
  LB_TRY(drain.target, Drain::parse_target(what.target));
  if (!what.service.empty()) drain.service = what.service;
  return drain;
}

// What a coroutine waits for: it lives as long as that one does. Who tells may be around for longer than
// the loop that its timer belongs to.
struct Answer {
  Event told;
  Result<> result;
};

std::function<void(Result<>)> teller(const std::weak_ptr<Answer>& asked) {
  return [asked](Result<> result) {
    const auto answer = asked.lock();
    if (!answer) return;
    answer->result = std::move(result);
    answer->told.notify();
  };
}

// A disk takes milliseconds, a full or slow one says so within this; one that hangs never answers.
constexpr std::chrono::seconds kDiskAnswers{2};

std::shared_ptr<Answer> begin_to_save(Engine& engine, const asio::any_io_executor& executor) {
  auto answer = std::make_shared<Answer>(Answer{Event(executor), fail("the disk does not answer")});
  engine.save_orders(teller(answer));
  return answer;
}

// `what` is in force, whatever the disk says.
asio::awaitable<Result<>> is_saved(std::shared_ptr<Answer> answer, std::string what) {
  const auto deadline = std::chrono::steady_clock::now() + kDiskAnswers;
  (void)co_await answer->told.wait(deadline);
  if (answer->result) co_return Result<>();
  co_return fail(EAGAIN,
                 fmt::format("{} is in force, but not saved: {}; a restart before it can be "
                             "saved may forget it",
                             what, answer->result.error().message()));
}

asio::awaitable<Result<>> save(Engine& engine, std::string what) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto answer = begin_to_save(engine, executor);
  const Result<> saved = co_await is_saved(answer, what);
  co_return saved;
}

// Dataplane::settle() to wait for.
asio::awaitable<Result<>> settled(Dataplane& dataplane) {
  const auto answer =
      std::make_shared<Answer>(Answer{Event(co_await asio::this_coro::executor), {}});
  dataplane.settle(teller(answer));
  const Event::Woken woken = co_await answer->told.wait();
  if (woken != Event::Woken::Notified) co_return fail(ECANCELED, "wait for the grace period");
  co_return answer->result;
}

}  // namespace

asio::awaitable<Result<std::vector<ServiceView>>> Operator::list(std::string filter) {
  std::optional<Error> error;
  auto views = co_await read_views(error, std::move(filter));
  if (error) co_return tl::unexpected(*std::move(error));
  co_return views;
}

std::vector<ServiceKey> Operator::known() const {
  const Reconciler& reconciler = engine_.reconciler();
  std::vector<ServiceKey> desired, all;
  for (const auto& [key, service] : reconciler.desired()) desired.push_back(key);
  std::set_union(desired.begin(), desired.end(), reconciler.unclaimed().begin(),
                 reconciler.unclaimed().end(), std::back_inserter(all));
  return all;
}

asio::awaitable<std::vector<ServiceView>> Operator::read_views(std::optional<Error>& error,
                                                               std::string filter) {
  std::vector<ServiceView> views;
  const auto read = [&](std::span<const ServiceKey> slice) {
    std::vector<ServiceKey> keys;
    for (const ServiceKey& key : slice)
      if (const auto service = engine_.reconciler().effective(key);
          service && may_name(*service, filter))
        keys.push_back(key);
    if (keys.empty()) return;
    auto observed = engine_.dataplane().read_some(keys);
    if (!observed) error = observed.error();
    const Observed seen = observed ? *std::move(observed) : Observed{};
    std::vector<ServiceView> found;
    for (const ServiceKey& key : keys)
      if (auto view = view_of(key, seen)) found.push_back(*std::move(view));
    found = filter_services(std::move(found), filter);
    std::move(found.begin(), found.end(), std::back_inserter(views));
  };
  co_await in_slices(known(), read);
  co_return views;
}

// None: it has just been removed from the kernel.
std::optional<ServiceView> Operator::view_of(const ServiceKey& key,
                                             const Observed& observed) const {
  const ObservedService* seen = find_service(observed, key);
  const DesiredServicePtr effective = engine_.reconciler().effective(key);
  if (!effective) return std::nullopt;
  const bool desired = engine_.reconciler().desired().contains(key);
  DesiredServicePtr service =
      desired ? as_seen(effective, seen, engine_.clocks().wall()) : effective;
  auto counts = counts_of(*service, seen);
  return ServiceView{std::move(service), std::move(counts)};
}

asio::awaitable<Result<Status>> Operator::status() {
  Status status;
  // Who asks how lbd is must get an answer above all when something is amiss.
  std::optional<Error> error;
  const std::vector<ServiceView> services = co_await read_views(error, {});
  if (error)
    status.own_problems.push_back(
        {"dataplane", "no counts, it cannot be read: " + error->message()});
  status.version = facts_.version;
  status.pid = ::getpid();
  status.started = facts_.started;
  status.now = engine_.clocks().wall();
  status.config = facts_.config;
  status.dataplane = to_view(engine_.dataplane().info());
  status.services = services.size();
  for (const ServiceView& view : services) {
    status.backends += view.service->backends.size();
    for (const BackendCounts& c : view.counts)
      status.active_connections += c.active_connections.value_or(0);
  }
  status.loop = facts_.loop();
  add_problems(status, services);
  add_failures(status);
  add_warnings(status);
  for (const auto& slot : engine_.slots())
    if (auto held = held_view(*slot, engine_.clocks().steady(), status.now))
      status.held.push_back(*std::move(held));
  for (const Drain& drain : engine_.drains().all()) status.drains.push_back(to_view(drain));
  co_return status;
}

void Operator::add_problems(Status& status, const std::vector<ServiceView>& services) const {
  for (const std::string& text : engine_.problems())
    status.own_problems.push_back({"dataplane", text});
  for (const auto& slot : engine_.slots())
    if (const auto held = slot->held(); held && held->total)
      status.own_problems.push_back({slot->name(), held->text});
  for (OwnProblem& problem : facts_.problems()) status.own_problems.push_back(std::move(problem));
  for (const ServiceView& view : services) {
    const DesiredService& service = *view.service;
    // What has left its source and runs out is no problem.
    if (service.condition != Condition::Ok && !service.removed)
      status.problems.push_back({service.key, service.name, service.condition, service.text});
  }
}

void Operator::add_failures(Status& status) const {
  const SteadyTime now = engine_.clocks().steady();
  for (const auto& [key, failure] : engine_.reconciler().failures()) {
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(failure.retry_at - now);
    status.failures.push_back({.key = key,
                               .error = failure.error,
                               .since = failure.since,
                               .attempts = failure.backoff.attempts(),
                               .retry_in = std::max(wait, std::chrono::milliseconds(0))});
  }
}

void Operator::add_warnings(Status& status) const {
  status.warnings = engine_.warnings();
  for (const std::string& warning : fleet_.warnings()) status.warnings.push_back(warning);
  for (std::string& warning : facts_.warnings()) status.warnings.push_back(std::move(warning));
  for (const auto& [key, note] : engine_.reconciler().notes())
    if (!note.conflict) status.warnings.push_back(note.text);
}

Result<std::vector<SourceView>> Operator::sources() {
  std::vector<SourceView> views;
  for (const auto& slot : engine_.slots())
    views.push_back(
        to_view(*slot, engine_.view().losers, engine_.clocks().steady(), engine_.clocks().wall()));
  for (const auto& slot : engine_.former().slots)
    views.push_back(to_former_view(*slot, engine_.former(), engine_.view().losers));
  return views;
}

asio::awaitable<void> Operator::applied() {
  constexpr std::size_t kWrites = 256;
  while (engine_.apply_some(kWrites)) co_await asio::post(asio::use_awaitable);
  changed_();
}

asio::awaitable<Result<std::vector<DrainedBackend>>> Operator::drain(DrainRequest request) {
  LB_CO_TRY(const Drain order, begin_drain(request));
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto saved = begin_to_save(engine_, executor);
  co_await applied();
  LB_CO_TRY(const auto backends, covered_by(order));
  const Result<> programmed = check_programmed(backends);
  if (!programmed) co_return tl::unexpected(programmed.error());
  const Result<> done = co_await settled(engine_.dataplane());
  if (!done) co_return tl::unexpected(done.error());
  const std::string words = "the drain of " + request.what.target;
  const Result<> kept = co_await is_saved(saved, words);
  if (!kept) co_return tl::unexpected(kept.error());
  co_return covered_by(order);
}

asio::awaitable<Result<std::vector<DrainedBackend>>> Operator::undrain(DrainTarget what) {
  LB_CO_TRY(const Drain order, end_drain(what));
  co_await applied();
  auto covered = covered_by(order);
  if (!covered) co_return covered;
  const std::string words = "the end of the drain of " + what.target;
  const Result<> kept = co_await save(engine_, words);
  if (!kept) co_return tl::unexpected(kept.error());
  co_return covered;
}

asio::awaitable<Result<Accepted>> Operator::accept(std::string source) {
  auto accepted = begin_accept(source);
  if (accepted) co_await applied();
  co_return accepted;
}

Result<Drain> Operator::begin_drain(const DrainRequest& request) {
  LB_TRY(Drain order, to_drain(request.what));
  if (!covers_any(order, engine_.reconciler().desired()))
    return fail(ENOENT, fmt::format("no backend or host {}{}", request.what.target,
                                    order.service ? " in service " + *order.service : ""));
  const Moment now = engine_.clocks().now();
  order.since = now.wall;
  if (request.terminate)
    order.terminate_at =
        Deadline::in(request.terminate_after.value_or(drain_timeout_of(order)), now);
  LB_CHECK(engine_.drains().add(order));
  spdlog::info("drain target={} service={} terminate={}", request.what.target, request.what.service,
               request.terminate);
  engine_.replan_soon();
  return order;
}

// The services' own, if all that it covers agree.
std::chrono::milliseconds Operator::drain_timeout_of(const Drain& order) const {
  const auto usual = engine_.settings().drain_timeout;
  Drains only;
  if (!only.add(order)) return usual;
  std::optional<std::chrono::milliseconds> agreed;
  for (const OwnedService& owned : engine_.view().services) {
    const Service& service = *owned.service;
    if (std::none_of(service.backends.begin(), service.backends.end(),
                     [&](const Backend& b) { return only.matches(b, service); }))
      continue;
    const auto own = service.drain_timeout.value_or(usual);
    if (agreed.value_or(own) != own) return usual;
    agreed = own;
  }
  return agreed.value_or(usual);
}

// The order stays and is tried again, but who waits for it must not believe that it holds.
Result<> Operator::check_programmed(const std::vector<DrainedBackend>& backends) const {
  for (const DrainedBackend& b : backends)
    if (const auto it = engine_.reconciler().failures().find(b.service);
        it != engine_.reconciler().failures().end())
      return fail(EAGAIN, fmt::format("the drain is kept, but {} cannot be programmed yet: {}",
                                      b.service.to_string(), it->second.error));
  return {};
}

bool Operator::is_of_fleet(const Drain& wanted) const {
  const auto& all = engine_.drains().all();
  return std::any_of(all.begin(), all.end(), [&](const Drain& d) {
    return !d.fleet.empty() && d.target == wanted.target && d.service == wanted.service;
  });
}

Result<Drain> Operator::end_drain(const DrainTarget& what) {
  LB_TRY(const Drain order, to_drain(what));
  const auto removed = engine_.drains().remove(order.target, order.service);
  if (!removed && is_of_fleet(order))
    return fail(EBUSY, fmt::format("{} is drained by the fleet: `lbctl undrain --fleet {}` at an "
                                   "updater ends that",
                                   what.target, what.target));
  LB_CHECK(removed);
  spdlog::info("undrain target={} service={}", what.target, what.service);
  engine_.replan_soon();
  return order;
}

Result<std::vector<DrainedBackend>> Operator::drain_progress(DrainTarget what) {
  LB_TRY(const Drain wanted, to_drain(what));
  for (const Drain& order : engine_.drains().all())
    if (order.target == wanted.target && order.service == wanted.service) return covered_by(order);
  return std::vector<DrainedBackend>{};
}

Result<std::vector<DrainedBackend>> Operator::covered_by(const Drain& order) {
  Drains only;  // in memory: what this one order covers, whatever others cover as well
  LB_CHECK(only.add(order));
  std::vector<DrainedBackend> covered;
  for (const auto& [key, service] : engine_.reconciler().desired())
    for (const DesiredBackend& b : service->backends) {
      if (!only.find(b.backend, key, service->name)) continue;
      LB_TRY(const auto connections, engine_.drain_watch().connections({key, b.backend.address}));
      covered.push_back({.service = key,
                         .service_name = service->name,
                         .id = b.backend.id,
                         .host = b.backend.host,
                         .address = b.backend.address,
                         .state = b.state,
                         .reason = b.reason,
                         .connections = connections.value_or(0)});
    }
  return covered;
}

Result<std::vector<relay::ListenerView>> Operator::listeners() { return fleet_.listeners(); }

std::vector<OrderKeys::View> Operator::order_keys() { return fleet_.order_keys(); }

Result<std::string> Operator::trust(const std::string& what, bool forget) {
  return fleet_.trust(what, forget);
}

asio::awaitable<Result<relay::FleetProgress>> Operator::drain_fleet(DrainTarget what) {
  auto progress = fleet_.drain(engine_, what);
  if (!progress) co_return progress;
  const std::string words = "the fleet's drain of " + what.target;
  const Result<> kept = co_await save(engine_, words);
  if (!kept) co_return tl::unexpected(kept.error());
  co_return progress;
}

asio::awaitable<Result<relay::FleetProgress>> Operator::undrain_fleet(DrainTarget what) {
  auto progress = fleet_.undrain(engine_, what);
  if (!progress) co_return progress;
  const std::string words = "the end of the fleet's drain of " + what.target;
  const Result<> kept = co_await save(engine_, words);
  if (!kept) co_return tl::unexpected(kept.error());
  co_return progress;
}

Result<relay::FleetProgress> Operator::fleet_progress(DrainTarget what) {
  return fleet_.progress(engine_, what);
}

Result<Accepted> Operator::begin_accept(const std::string& source) {
  for (const auto& slot : engine_.slots()) {
    if (slot->name() != source) continue;
    const Accepted accepted{source, slot->accept()};
    spdlog::info("resync source={} removed={}", source, accepted.removed);
    engine_.replan_soon();
    return accepted;
  }
  if (const auto removed = engine_.drop_former(source)) {
    spdlog::info("resync source={} removed={}", source, *removed);
    return Accepted{source, *removed};
  }
  return fail(ENOENT, fmt::format("no source is named {}", source));
}

}  // namespace lb
