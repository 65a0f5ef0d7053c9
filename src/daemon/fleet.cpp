#include "daemon/fleet.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <map>
#include <span>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "base/beside.h"
#include "base/limits.h"
#include "base/text.h"
#include "daemon/slices.h"
#include "relay/complaint.h"
#include "relay/order_audit.h"
#include "state/drain_index.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

// While something runs out somebody may be waiting for it; else counts go with the pings.
constexpr milliseconds kBusy{200};
constexpr milliseconds kIdle{5'000};
constexpr milliseconds kKeyFileAnswers{2'000};

bool is_in_force(const FleetOrders::Known& known) { return known.order.drain && !known.ended; }

relay::SourceMark mark_of(const SourceSlot& slot) {
  const SourceStatus status = slot.source ? slot.source->status() : SourceStatus{};
  relay::SourceMark mark;
  mark.name = slot.name();
  mark.ok = status.error.empty() && slot.error().empty();
  if (const Snapshot* snapshot = slot.snapshot()) {
    mark.revision = snapshot->revision;
    mark.as_of = snapshot->as_of;
    mark.read_at = snapshot->as_of;
  }
  if (status.read_at) mark.read_at = *status.read_at;
  return mark;
}

std::vector<relay::SourceMark> marks_of(const Engine& engine) {
  std::vector<relay::SourceMark> marks;
  for (const auto& slot : engine.slots()) marks.push_back(mark_of(*slot));
  return marks;
}

}  // namespace

std::vector<RelaySource*> relay_sources(const SourceSlots& slots) {
  std::vector<RelaySource*> out;
  for (const auto& slot : slots)
    if (auto* relay = dynamic_cast<RelaySource*>(slot->source.get())) out.push_back(relay);
  return out;
}

std::unique_ptr<Fleet> Fleet::open(const std::string& state_dir, std::string node,
                                   std::function<void()> changed, SavedProblems& problems) {
  const std::string path = state_dir + "/fleet.json";
  FleetOrders orders =
      problems.loaded_or(path, FleetOrders::open(path), FleetOrders::without(path));
  if (!orders.dropped().empty()) problems.set(path + " limits", orders.dropped());
  return std::unique_ptr<Fleet>(
      new Fleet(std::move(orders), state_dir, std::move(node), std::move(changed)));
}

void Fleet::set_order_keys(const Config& config) {
  std::set<std::string> updaters;
  for (const SourceConfig& source : config.sources)
    if (const auto* relay = std::get_if<RelaySourceConfig>(&source.settings))
      for (const HostPort& updater : relay->updaters) updaters.insert(relay::to_string(updater));
  orders_.change_keys([&](OrderKeys& keys) { return keys.configure(config.order_keys, updaters); });
}

void Fleet::set_applies(bool applies) {
  applies_ = applies;
  orders_.change_keys([applies](OrderKeys& keys) {
    keys.set_follows(applies);
    return false;
  });
}

// Told once for each reason: problems() has it as long as it lasts.
void Fleet::use_signer(Result<OrderSigner> signer) {
  const std::string why = signer ? "" : signer.error().message();
  if (!why.empty() && why != no_signer_) spdlog::error("fleet: {}", why);
  if (why.empty() && !no_signer_.empty()) {
    spdlog::info("fleet: {} can be used now", key_file());
    server_->greet_again();  // listeners were told of no key
  }
  no_signer_ = why;
  orders_.change_keys([&](OrderKeys& keys) {
    if (signer)
      keys.set_own(*std::move(signer));
    else
      keys.set_unsigned(why);
    return false;
  });
}

// A full or slow disk at the start is no reason to sign nothing for ever.
asio::awaitable<void> Fleet::look_for_signer() {
  const std::function<Result<OrderSigner>()> job = [path = key_file()] {
    return OrderSigner::open(path);
  };
  auto signer = co_await beside(job, kKeyFileAnswers);
  use_signer(std::move(signer));
}

Result<> Fleet::serve(asio::io_context& io, relay::ServerConfig config, std::string version) {
  LB_TRY(server_, relay::Server::open(io, std::move(config), orders_, node_, std::move(version),
                                      [this] { orders_changed(); }));
  use_signer(OrderSigner::open(key_file()));
  served_since_ = std::chrono::steady_clock::now();
  spdlog::info("listeners are served at {}", server_->address());
  for (const std::string& warning : server_->warnings()) spdlog::warn("{}", warning);
  return {};
}

void Fleet::stop() {
  if (server_) server_->stop();
}

void Fleet::orders_changed() { changed_(); }

std::vector<Drain> Fleet::drains() const {
  std::vector<Drain> out;
  for (const FleetOrders::Known& known : orders_.all()) {
    if (!is_in_force(known)) continue;
    if (auto drain = drain_of(known.order))
      out.push_back(*std::move(drain));
    else
      spdlog::warn("fleet order {} is not understood: {}", known.order.id, drain.error().message());
  }
  return out;
}

bool Fleet::before_turn(Engine& engine) {
  if (started_ && seen_version_ == orders_.version()) return false;
  started_ = true;
  seen_version_ = orders_.version();
  if (server_) server_->orders_changed();
  for (RelaySource* relay : relay_sources(engine.slots())) relay->orders_changed();
  if (!applies_) return false;
  std::vector<Drain> wanted = drains();
  if (wanted == in_force_) return false;
  in_force_ = wanted;
  engine.drains().set_fleet(std::move(wanted));
  engine.replan_soon();
  applying_ = true;
  return true;
}

// From then on no new connection can go there.
void Fleet::settle(Engine& engine, const std::vector<Drain>& drains) {
  std::vector<std::string> ids;
  for (const Drain& drain : drains) ids.push_back(drain.fleet);
  std::sort(ids.begin(), ids.end());
  progress_.keep_programmed(ids);
  engine.dataplane().settle(
      [this, ids = std::move(ids), alive = std::weak_ptr<bool>(alive_)](const Result<>& settled) {
        if (!alive.lock()) return;
        unsettled_ = !settled;
        if (!settled) {
          spdlog::error("fleet drains are not known to hold yet: {}", settled.error().message());
          return;
        }
        progress_.add_programmed(ids);
        changed_();
      });
}

bool Fleet::after_turn(Engine& engine) {
  if (std::exchange(applying_, false)) settle(engine, in_force_);
  std::set<std::string> over;
  for (const Drain& ended : engine.take_ended_fleet()) over.insert(ended.fleet);
  if (!over.empty()) end(over, engine.clocks().wall());
  publish(engine);
  for (const auto& slot : engine.slots())
    if (slot->source) slot->source->applied();
  return applies_ && (!orders_.all().empty() || !reported_.empty());
}

// Nothing before every source has spoken in this run: what is saved may be old.
void Fleet::publish(const Engine& engine) {
  if (!server_) return;
  const auto& slots = engine.slots();
  if (!std::all_of(slots.begin(), slots.end(), [](const auto& s) { return s->live(); })) return;
  std::vector<ServicePtr> services;
  for (const OwnedService& owned : engine.view().services)
    if (!owned.refused) services.push_back(owned.service);
  if (has_published_ && services == published_) return server_->mark(marks_of(engine));
  has_published_ = true;
  published_ = services;
  server_->publish(std::move(services), marks_of(engine));
}

void Fleet::end(const std::set<std::string>& ids, SysTime now) {
  if (auto done = orders_.end(ids, now); !done)
    spdlog::error("cannot save the fleet's drains: {}", done.error().message());
  std::erase_if(in_force_, [&](const Drain& d) { return ids.contains(d.fleet); });
}

asio::awaitable<void> Fleet::tell_reports(Engine& engine) {
  if (!applies_) co_return;
  const auto relays = relay_sources(engine.slots());
  if (relays.empty() && !server_) co_return;
  reported_ = co_await progress_.of_all(engine);
  for (RelaySource* relay : relay_sources(engine.slots())) relay->set_order_report(reported_);
}

asio::awaitable<void> Fleet::tell_counts(Engine& engine) {
  auto keys = engine.dataplane().keys();
  if (!keys) co_return;
  bool whole = true;
  std::vector<relay::Counts::Item> counts;
  const auto read = [&](std::span<const ServiceKey> slice) {
    const auto observed = engine.dataplane().read_some(slice);
    whole = whole && observed;
    if (!observed) return;
    for (const ObservedService& service : observed->services)
      for (const ObservedBackend& b : service.backends)
        if (const auto active = b.active_connections.value_or(0); active > 0)
          counts.push_back({service.key, b.address, std::min(limits::kConnections, active)});
  };
  co_await in_slices(*std::move(keys), read);
  if (!whole) co_return;
  for (RelaySource* relay : relay_sources(engine.slots())) relay->set_counts(counts);
}

asio::awaitable<void> Fleet::look(Engine& engine) {
  if (server_ && !no_signer_.empty()) co_await look_for_signer();
  if (std::exchange(unsettled_, false)) settle(engine, in_force_);
  if (!relay_sources(engine.slots()).empty()) co_await tell_counts(engine);
  co_await tell_reports(engine);
  if (has_published_) server_->mark(marks_of(engine));
  if (server_) end_where_all_have_ended();
  keep_orders(engine.clocks().wall());
  if (orders_.version() != seen_version_) changed_();
}

void Fleet::keep_orders(SysTime now) {
  audit_news(orders_.prune(now), "later");
  if (auto renewed = orders_.renew(now); !renewed)
    spdlog::error("the fleet's drains are not signed again: {}", renewed.error().message());
}

// An updater without connections of its own learns from its listeners that an order is done.
void Fleet::end_where_all_have_ended() {
  if (applies_) return;
  std::set<std::string> ids;
  for (const FleetOrders::Known& known : orders_.all())
    if (is_in_force(known)) ids.insert(known.order.id);
  if (ids.empty()) return;
  ids = server_->ended(std::move(ids));
  if (!ids.empty()) end(ids, sys_now());
}

milliseconds Fleet::pace() const {
  const bool busy = std::any_of(reported_.begin(), reported_.end(),
                                [](const auto& item) { return !is_done(item); });
  return busy ? kBusy : kIdle;
}

Result<> Fleet::check_serves() const {
  if (server_) return {};
  return fail(ENOTSUP, "this lbd serves no listeners: ask an updater, or configure [relay] listen");
}

Result<std::vector<relay::ListenerView>> Fleet::listeners() const {
  LB_CHECK(check_serves());
  return server_->listeners();
}

// Told to everybody, and in force here before this returns.
Result<> Fleet::give(FleetOrder order) {
  order.id = boost::uuids::to_string(boost::uuids::random_generator()());
  // Clocks of updaters differ: a later order is newer whatever they say.
  if (const auto* known = orders_.find(order.target, order.service))
    order.time = std::max(order.time, known->order.time + milliseconds(1));
  LB_CHECK(orders_.keys().sign(order, order.time));
  LB_TRY(const bool news, orders_.adopt(order));
  if (!news) return fail("the order is older than what is known");
  changed_();
  return {};
}

// Else it may be that no listener has it: what an operator says here is then given in any case.
bool Fleet::vouched_for(const FleetOrder& order) const { return !orders_.keys().is_unknown(order); }

Result<relay::FleetProgress> Fleet::drain(Engine& engine, const DrainTarget& what) {
  LB_CHECK(check_serves());
  FleetOrder order{.id = "new",
                   .time = engine.clocks().wall(),
                   .target = what.target,
                   .service = what.service,
                   .drain = true,
                   .ids = {}};
  LB_TRY(const Drain drain, drain_of(order));
  const auto covered = covered_by(drain, engine.reconciler().desired());
  if (std::holds_alternative<Address>(drain.target))
    for (const auto& [key, backend] : covered) order.ids.push_back(backend->id);
  if (covered.empty())
    return fail(ENOENT, fmt::format("no backend or host {}{}", what.target,
                                    what.service.empty() ? "" : " in service " + what.service));
  std::sort(order.ids.begin(), order.ids.end());
  order.ids.erase(std::unique(order.ids.begin(), order.ids.end()), order.ids.end());
  const auto* before = orders_.find(what.target, what.service);
  if (!before || !is_in_force(*before) || before->order.ids != order.ids ||
      !vouched_for(before->order)) {
    LB_CHECK(give(std::move(order)));
    spdlog::info("fleet drain target={} service={}", what.target, what.service);
    (void)before_turn(engine);
  }
  return progress_of(engine, orders_.find(what.target, what.service)->order);
}

Result<relay::FleetProgress> Fleet::undrain(Engine& engine, const DrainTarget& what) {
  LB_CHECK(check_serves());
  const auto* before = orders_.find(what.target, what.service);
  if (!before || (!is_in_force(*before) && vouched_for(before->order)))
    return fail(ENOENT, fmt::format("the fleet does not drain {}{}", what.target,
                                    what.service.empty() ? "" : " in service " + what.service));
  const relay::FleetProgress progress = progress_of(engine, before->order);
  LB_CHECK(give({.id = "",
                 .time = engine.clocks().wall(),
                 .target = what.target,
                 .service = what.service,
                 .drain = false,
                 .ids = {}}));
  spdlog::info("fleet undrain target={} service={}", what.target, what.service);
  (void)before_turn(engine);
  return progress;
}

Result<relay::FleetProgress> Fleet::progress(Engine& engine, const DrainTarget& what) const {
  LB_CHECK(check_serves());
  const auto* known = orders_.find(what.target, what.service);
  if (!known || !known->order.drain)
    return fail(ENOENT, fmt::format("the fleet does not drain {}", what.target));
  return progress_of(engine, known->order);
}

relay::FleetProgress Fleet::progress_of(Engine& engine, const FleetOrder& order) const {
  relay::FleetProgress out = server_->progress(order);
  if (applies_) {
    const auto* known = orders_.find(order.target, order.service);
    const auto item = progress_.of(engine, *known);
    out.listeners.push_back(
        {node_ + " (this one)", true, item.programmed, item.ended, item.connections});
    out.connections += item.connections;
    out.drained = out.drained && is_done(item);
  }
  // Those that were connected before a restart are not back yet.
  if (std::chrono::steady_clock::now() - served_since_ < relay::kDeadAfter) out.drained = false;
  return out;
}

Result<std::string> Fleet::trust(const std::string& what, bool forget) {
  Result<std::string> done = what;
  orders_.change_keys([&](OrderKeys& keys) {
    done = forget ? keys.forget(what) : keys.trust(what, sys_now());
    return done.has_value();
  });
  // What was refused is heard again.
  changed_();
  return done;
}

std::vector<std::string> Fleet::problems() const {
  std::vector<std::string> out = orders_.keys().problems();
  if (const auto& refused = orders_.refused(); !refused.empty())
    out.push_back(fmt::format(
        "{} of the fleet {} not taken; the order of {} {}",
        refused.size() == 1 ? "a drain or undrain"
                            : fmt::format("{} drains and undrains", refused.size()),
        refused.size() == 1 ? "is" : "are", refused.front().order.target, refused.front().why));
  return out;
}

std::vector<std::string> Fleet::warnings() const {
  return server_ ? server_->warnings() : std::vector<std::string>{};
}

}  // namespace lb
