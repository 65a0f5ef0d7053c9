#include "relay/relay_source.h"

#include <algorithm>
#include <cerrno>
#include <random>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/audit.h"
#include "base/event.h"
#include "base/spawn.h"
#include "base/text.h"
#include "relay/delivery.h"
#include "relay/intake.h"
#include "relay/link.h"
#include "relay/order_audit.h"
#include "relay/received.h"

namespace lb {
namespace {

using relay::Intake;
using relay::Link;
using relay::Outbox;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

// An updater that was started with this host may still wait for its own sources.
constexpr auto kStatePatience = 5s;
constexpr auto kRefusalsEvery = 1min;  // in the log

}  // namespace

// Shared with the links' coroutines, which end some turns of the loop after the source.
class RelaySource::Impl : public std::enable_shared_from_this<RelaySource::Impl> {
 public:
  // What keeps the state from coming, told once each time it becomes another one.
  enum class Outage { None, Away, Waiting, Holding };

  Impl(asio::io_context& io, RelaySourceConfig config, std::optional<Snapshot> saved,
       FleetOrders& orders, std::function<void()> orders_changed, std::string node,
       std::string version, Clocks clocks);

  void start();
  void stop();
  asio::awaitable<Result<Snapshot>> next();
  [[nodiscard]] SourceStatus status() const;
  [[nodiscard]] std::vector<UpdaterView> updaters() const;
  void applied();
  void set_counts(std::vector<relay::Counts::Item> counts);
  void set_order_report(std::vector<relay::OrderReport::Item> items);
  void tell_orders();

 private:
  relay::ListenerHello hello() const;
  void link_up(std::size_t index, const relay::UpdaterHello& hello);
  void link_down(std::size_t index);
  void meet(std::size_t index, const std::string& order_key);
  Result<> take(std::size_t index, relay::Message message);
  void adopt(std::size_t index, const std::vector<FleetOrder>& orders, const std::string& refused);

  void turn();
  steady_clock::time_point look();
  std::optional<Error> take_error();
  std::optional<Snapshot> take_snapshot();
  std::vector<std::string> complaints();
  [[nodiscard]] std::pair<Outage, std::string> outage() const;
  void acknowledge();

  asio::io_context& io_;
  RelaySourceConfig config_;
  Clocks clocks_;
  FleetOrders* orders_;  // null: stopped
  std::function<void()> on_orders_;
  std::string node_, version_;
  Event changed_;
  Intake intake_;
  std::minstd_rand random_;
  relay::Decoder decoder_;
  Link::Shared shared_;
  std::vector<std::unique_ptr<Link>> links_;  // in the order of the configuration
  bool started_ = false;
  std::optional<steady_clock::time_point> next_turn_;
  steady_clock::time_point unfed_since_;
  steady_clock::time_point next_refusal_;  // of an order, that is logged

  Outage told_ = Outage::None;
  bool news_after_error_ = false;
  relay::Delivery delivery_;
  // To whom; forgotten with the connection.
  std::optional<std::pair<std::size_t, relay::Position>> acknowledged_;
  std::vector<std::string> plain_text_;
  Outbox::CountsPtr counts_;
  Outbox::ReportPtr report_;
};

RelaySource::Impl::Impl(asio::io_context& io, RelaySourceConfig config,
                        std::optional<Snapshot> saved, FleetOrders& orders,
                        std::function<void()> orders_changed, std::string node, std::string version,
                        Clocks clocks)
    : io_(io),
      config_(std::move(config)),
      clocks_(std::move(clocks)),
      orders_(&orders),
      on_orders_(std::move(orders_changed)),
      node_(std::move(node)),
      version_(std::move(version)),
      changed_(io.get_executor()),
      intake_(config_.updaters.size(), config_.confirm, clocks_.steady()),
      random_(std::random_device{}()),
      decoder_(io_),
      shared_{.io = io_,
              .tls = config_.tls,
              .publish = config_.publish,
              .clocks = clocks_,
              .decoder = decoder_,
              .hello = [this] { return hello(); },
              .orders = [this] { return &orders_->all(); },
              .up = [this](std::size_t i, const relay::UpdaterHello& hello) { link_up(i, hello); },
              .take = [this](std::size_t i, relay::Message m) { return take(i, std::move(m)); },
              .down = [this](std::size_t i) { link_down(i); }},
      unfed_since_(clocks_.steady()) {
  if (!config_.tls.used()) plain_text_ = relay::plain_text(config_.updaters);
  auto revision = relay::parse_revision(saved ? saved->revision : "");
  if (revision) intake_.restore(*std::move(revision));
  for (std::size_t i = 0; i < config_.updaters.size(); ++i)
    links_.push_back(std::make_unique<Link>(shared_, i, config_.updaters[i]));
}

void RelaySource::Impl::start() {
  started_ = true;
  const auto self = shared_from_this();
  for (std::size_t i = 0; i < links_.size(); ++i)
    spawn(io_, "relay", [self, i] { return self->links_[i]->run(); });
}

// Not by asio's cancellation: co_spawn() posts it, and a coroutine that ends by itself before it arrives
// takes with it what it arrives at.
void RelaySource::Impl::stop() {
  on_orders_ = nullptr;
  for (const auto& link : links_) link->stop();
  orders_ = nullptr;
}

relay::ListenerHello RelaySource::Impl::hello() const {
  relay::ListenerHello out;
  out.node = node_;
  out.version = version_;
  out.observes = config_.observes;
  if (const auto* mine = intake_.in_force()) out.have = mine->at;
  out.orders = relay::first_piece(orders_->all());  // the others follow
  return out;
}

void RelaySource::Impl::link_up(std::size_t index, const relay::UpdaterHello& hello) {
  intake_.up(index, hello.at, clocks_.steady());
  meet(index, hello.order_key);
  adopt(index, hello.orders, hello.refused);
  turn();
}

// This lbd has dialled it, as the configuration says: what listeners carry teaches no key.
void RelaySource::Impl::meet(std::size_t index, const std::string& order_key) {
  const std::string updater = relay::to_string(config_.updaters[index]);
  orders_->change_keys([&](OrderKeys& keys) {
    if (!keys.met(updater, order_key, clocks_.wall())) return false;
    write_audit({.event = "order-key-learnt",
                 .who = "updater=" + updater,
                 .from = "relay",
                 .what = "key=" + order_key,
                 .why = "the first that it has shown"});
    return true;
  });
}

void RelaySource::Impl::link_down(std::size_t index) {
  const bool fed = intake_.choice().feeder() == index;
  intake_.down(index, clocks_.steady());
  if (fed) unfed_since_ = clocks_.steady();
  acknowledged_.reset();
  turn();
}

Result<> RelaySource::Impl::take(std::size_t index, relay::Message message) {
  if (const auto* orders = std::get_if<relay::Orders>(&message)) {
    links_[index]->outbox().heard(orders->orders);
    adopt(index, orders->orders, orders->refused);
    return {};
  }
  auto taken = intake_.take(index, std::move(message), clocks_.steady());
  turn();
  return taken;
}

// All at once: they are passed on and saved together.
void RelaySource::Impl::adopt(std::size_t index, const std::vector<FleetOrder>& orders,
                              const std::string& refused) {
  const FleetOrders::Heard heard = orders_->hear(orders, clocks_.wall());
  const std::string& why = refused.empty() ? heard.why : refused;
  if (!why.empty() && clocks_.steady() >= next_refusal_) {
    next_refusal_ = clocks_.steady() + kRefusalsEvery;
    spdlog::error("updater={} a drain of the fleet is not kept: {}",
                  relay::to_string(config_.updaters[index]), printable(why, 300));
  }
  audit_news(heard, "updater=" + relay::to_string(config_.updaters[index]));
  if (!heard.changed) return;
  tell_orders();
  if (on_orders_) on_orders_();
}

void RelaySource::Impl::tell_orders() {
  for (const auto& link : links_) {
    link->outbox().orders_changed();
    link->say();
  }
}

// After everything that happened: who is asked, who feeds.
void RelaySource::Impl::turn() {
  Intake::Todo todo = intake_.decide(clocks_.steady(), static_cast<std::uint32_t>(random_()));
  for (auto& [index, feed] : todo.feeds) {
    links_[index]->outbox().feed(std::move(feed));
    links_[index]->say();
  }
  for (const std::size_t index : todo.resyncs) {
    links_[index]->outbox().resync();
    links_[index]->say();
  }
  next_turn_ = todo.next;
  changed_.notify();
}

asio::awaitable<Result<Snapshot>> RelaySource::Impl::next() {
  if (!started_) start();
  for (;;) {
    const auto deadline = look();
    if (auto error = take_error()) co_return tl::unexpected(*std::move(error));
    if (auto snapshot = take_snapshot()) co_return *std::move(snapshot);
    const auto woken = co_await changed_.wait(deadline);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "relay");
  }
}

// Does what is due; returns when the next is, on the loop's own clock.
steady_clock::time_point RelaySource::Impl::look() {
  const auto now = clocks_.steady();
  if (next_turn_ && now >= *next_turn_) turn();
  std::optional<steady_clock::time_point> next = next_turn_;
  const auto at = [&next](steady_clock::time_point t) { next = std::min(next.value_or(t), t); };
  const bool feeds = intake_.choice().feeder().has_value();
  for (const auto& link : links_) {
    if (const auto due = link->complaint().next(now)) at(*due);
    const auto patience = std::max(unfed_since_, link->connected_at()) + kStatePatience;
    if (!feeds && link->connected() && now < patience) at(patience);
  }
  if (!next) return steady_clock::time_point::max();
  return steady_clock::now() + std::max<steady_clock::duration>(*next - now, 1ms);
}

std::optional<Error> RelaySource::Impl::take_error() {
  auto [kind, text] = outage();
  if (kind == Outage::None) {
    if (intake_.choice().feeder()) told_ = Outage::None;
    return std::nullopt;
  }
  if (std::exchange(told_, kind) == kind) return std::nullopt;
  news_after_error_ = true;
  return Error{{}, std::move(text)};
}

std::pair<RelaySource::Impl::Outage, std::string> RelaySource::Impl::outage() const {
  if (intake_.choice().feeder()) return {};
  if (const auto hold = intake_.choice().hold())
    return {Outage::Holding,
            relay::holding(config_.updaters[hold->updater], *hold, config_.confirm)};
  std::vector<std::string> errors;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (!links_[i]->error().empty()) errors.push_back(links_[i]->error());
    if (!links_[i]->connected()) continue;
    if (clocks_.steady() < std::max(unfed_since_, links_[i]->connected_at()) + kStatePatience)
      return {};
    return {Outage::Waiting,
            fmt::format("updater {} has no state yet: not all of its sources have delivered",
                        relay::to_string(config_.updaters[i]))};
  }
  if (errors.size() < links_.size()) return {};  // some are being tried for the first time
  return {Outage::Away, relay::nobody_feeds(errors)};
}

std::optional<Snapshot> RelaySource::Impl::take_snapshot() {
  const bool recovered = intake_.choice().feeder().has_value() && news_after_error_;
  auto snapshot = delivery_.next(intake_, complaints(), recovered, clocks_.wall());
  if (snapshot && intake_.choice().feeder()) news_after_error_ = false;
  acknowledge();  // what changed nothing here
  return snapshot;
}

// Of every updater that needs somebody's attention.
std::vector<std::string> RelaySource::Impl::complaints() {
  std::vector<std::string> out = plain_text_;
  for (const auto& link : links_)
    if (auto warning = link->complaint().warning(clocks_.steady()))
      out.push_back(*std::move(warning));
  return out;
}

void RelaySource::Impl::applied() {
  delivery_.applied();
  acknowledge();
}

// Only what the feeder has sent means something to it.
void RelaySource::Impl::acknowledge() {
  const auto feeder = intake_.choice().feeder();
  const auto position = delivery_.acknowledged(intake_);
  if (!feeder || !position || acknowledged_ == std::pair(*feeder, *position)) return;
  acknowledged_ = std::pair(*feeder, *position);
  links_[*feeder]->outbox().ack(*position);
  links_[*feeder]->say();
}

SourceStatus RelaySource::Impl::status() const {
  SourceStatus out;
  const auto feeder = intake_.choice().feeder();
  out.connected = feeder.has_value();
  const auto [kind, text] = outage();
  out.error = text;
  out.unreachable = kind == Outage::Away;
  out.position =
      fmt::format("{} of {}", feeder ? relay::to_string(config_.updaters[*feeder]) : "none",
                  config_.updaters.size());
  out.read_at = intake_.choice().read_at();
  return out;
}

std::vector<UpdaterView> RelaySource::Impl::updaters() const {
  std::vector<UpdaterView> out;
  for (std::size_t i = 0; i < links_.size(); ++i)
    out.push_back({.updater = relay::to_string(config_.updaters[i]),
                   .connected = links_[i]->connected(),
                   .feeds = intake_.choice().feeder() == i,
                   .ok = intake_.choice().well(i),
                   .error = links_[i]->error()});
  return out;
}

void RelaySource::Impl::set_counts(std::vector<relay::Counts::Item> counts) {
  std::erase_if(counts, [](const relay::Counts::Item& item) { return item.connections == 0; });
  std::sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
    return std::tie(a.service, a.backend) < std::tie(b.service, b.backend);
  });
  if (counts_ && *counts_ == counts) return;
  counts_ = std::make_shared<const std::vector<relay::Counts::Item>>(std::move(counts));
  for (const auto& link : links_) link->outbox().counts(counts_);
}

void RelaySource::Impl::set_order_report(std::vector<relay::OrderReport::Item> items) {
  if (report_ && *report_ == items) return;
  report_ = std::make_shared<const std::vector<relay::OrderReport::Item>>(std::move(items));
  for (const auto& link : links_) {
    link->outbox().report(report_);
    link->say();
  }
}

RelaySource::RelaySource(asio::io_context& io, RelaySourceConfig config,
                         std::optional<Snapshot> saved, FleetOrders& orders,
                         std::function<void()> orders_changed, std::string node,
                         std::string version, Clocks clocks)
    : impl_(std::make_shared<Impl>(io, std::move(config), std::move(saved), orders,
                                   std::move(orders_changed), std::move(node), std::move(version),
                                   std::move(clocks))) {}

RelaySource::~RelaySource() { impl_->stop(); }

asio::awaitable<Result<Snapshot>> RelaySource::next() {
  const std::shared_ptr<Impl> self = impl_;
  auto out = co_await self->next();
  co_return out;
}

SourceStatus RelaySource::status() const { return impl_->status(); }
void RelaySource::applied() { impl_->applied(); }
std::vector<UpdaterView> RelaySource::updaters() const { return impl_->updaters(); }
void RelaySource::orders_changed() { impl_->tell_orders(); }

void RelaySource::set_counts(std::vector<relay::Counts::Item> counts) {
  impl_->set_counts(std::move(counts));
}

void RelaySource::set_order_report(std::vector<relay::OrderReport::Item> items) {
  impl_->set_order_report(std::move(items));
}

}  // namespace lb
