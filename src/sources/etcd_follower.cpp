#include "sources/etcd_follower.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sources/heartbeat_pace.h"

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// A watch that lived shorter was no success: else a member that accepts and drops every watch would
// be asked a hundred times a second. Not longer: when members fail one after the other, the pauses of
// earlier failures must not add up to seconds in which nobody is watched.
constexpr auto kStableWatch = 1s;
// A frozen member is silent for ever. Asked after this silence it has 3 s to answer: 8 s in all.
constexpr auto kProbeAfter = 5s;
// How often the other API is asked while the one that is followed has no keys.
constexpr auto kLookElsewhere = 1s;
// Bounds what a lost event can do. A large listing is made more seldom: at most 0.2 % of the time.
constexpr auto kListingEvery = 60s;
constexpr int kListingShare = 500;
constexpr auto kAuditPatience = 3s;  // for the watch to deliver what the listing shows
// Before an expiry is believed the watch has this long, counted from its last words, to deliver what
// etcd had to say. After a late wake-up it waits in the socket already.
constexpr auto kLastWords = 200ms;
constexpr auto kLookAtWatch = 10ms;
constexpr auto kAskAgain = 1s;

etcd::Api::Wanted below(std::string range, bool (*wanted)(std::string_view)) {
  return [range = std::move(range), wanted](std::string_view key) {
    return key.starts_with(range) && wanted(key.substr(range.size()));
  };
}

}  // namespace

EtcdFollower::EtcdFollower(Shared shared, MerlionView view, std::optional<EtcdPosition> remembered)
    : shared_(std::move(shared)),
      view_(std::move(view)),
      position_(remembered.value_or(EtcdPosition{})),
      trusted_(remembered),
      retry_(shared_.cluster.access().endpoints.size()),
      random_(std::random_device{}()),
      confirm_(shared_.io.get_executor()) {}

asio::awaitable<void> EtcdFollower::run() {
  asio::steady_timer timer(shared_.io);
  for (;;) {
    const auto started = shared_.clocks.steady();
    auto result = co_await follow(endpoint());
    const bool was_watching = std::exchange(watching_, false);
    view_.lost(shared_.clocks.now());
    if (result) continue;
    if (result.error().code.value() == ECANCELED) co_return;
    ++failures_;
    if (was_watching && shared_.clocks.steady() - started >= kStableWatch) retry_.succeeded();
    error_ = result.error().message();
    shared_.changed();
    std::uniform_real_distribution<double> unit(0.0, 1.0);
    timer.expires_after(retry_.failed(unit(random_)));
    const auto [ec] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
  }
}

asio::awaitable<Result<>> EtcdFollower::follow(std::string endpoint) {
  auto found = co_await choose_api(endpoint);
  if (!found) co_return tl::unexpected(found.error());
  auto asked = co_await sync(endpoint);
  if (!asked) co_return tl::unexpected(asked.error());
  auto watch = co_await api().watch(endpoint, position_.header.cluster, *asked);
  if (!watch) co_return tl::unexpected(watch.error());
  watching_ = true;
  failures_ = 0;
  error_.clear();
  shared_.changed();
  auto ended = co_await read(**watch, endpoint, *found);
  co_return ended;
}

asio::awaitable<void> EtcdFollower::run_confirmations() {
  for (;;) {
    const auto woken = co_await confirm_.wait();
    if (woken == Event::Woken::Cancelled) co_return;
    co_await confirm(endpoint());
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return;
  }
}

// Whatever breaks meanwhile is found out by run(), too; what is still due is asked about again.
asio::awaitable<void> EtcdFollower::confirm(std::string endpoint) {
  asio::steady_timer timer(shared_.io);
  const auto asked = shared_.clocks.steady();
  auto alive = co_await api().probe(endpoint, view_.config_range());
  if (!alive && alive.error().code.value() == ECANCELED) co_return;
  if (!watching_ || !alive) {
    timer.expires_after(kAskAgain);
    (void)co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    shared_.changed();
    co_return;
  }
  auto full = co_await api().full(endpoint);
  if (full) full_ = *full;
  std::int64_t seen = position_.header.revision;
  auto until = steady_clock::now() + kLastWords;
  while (position_.header.revision < alive->revision && steady_clock::now() < until) {
    timer.expires_after(kLookAtWatch);
    const auto [ec] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
    if (std::exchange(seen, position_.header.revision) != seen)
      until = steady_clock::now() + kLastWords;
  }
  if (full_.empty()) view_.confirm(asked, shared_.clocks.now());
  shared_.changed();
}

asio::awaitable<Result<bool>> EtcdFollower::choose_api(std::string endpoint) {
  const auto before = position_.header.cluster != 0 ? std::optional(position_.api) : std::nullopt;
  auto choice = co_await shared_.cluster.choose(endpoint, view_.config_range(), before);
  if (!choice) co_return tl::unexpected(choice.error());
  position_.api = choice->version;
  co_return choice->found;
}

bool EtcdFollower::trusts(const etcd::Header& header) const {
  if (!trusted_ || trusted_->header.cluster == 0) return true;
  return trusted_->api == position_.api && header.cluster == trusted_->header.cluster &&
         header.revision >= trusted_->header.revision;
}

asio::awaitable<Result<std::vector<etcd::WatchRequest>>> EtcdFollower::sync(std::string endpoint) {
  const auto begin = shared_.clocks.steady();
  const std::string config_range = view_.config_range();
  auto config = co_await api().list(endpoint, config_range, below(config_range, is_config_key));
  if (!config) co_return tl::unexpected(config.error());
  etcd::Header position = config->header;
  view_.replace_config(config->kvs, trusts(config->header), shared_.clocks.now());
  mirror_.replace(view_.config_range(), *config);
  std::vector<etcd::WatchRequest> asked{{view_.config_range(), config->header.revision + 1}};
  unread_ = config->unread;
  const std::string range = view_.backend_range();
  if (!range.empty()) {
    auto backends = co_await api().list(endpoint, range, below(range, is_backend_key));
    if (!backends) co_return tl::unexpected(backends.error());
    if (backends->header.cluster != config->header.cluster)
      co_return fail(ESTALE, fmt::format("{}: two clusters answer there", endpoint));
    position.revision = std::max(position.revision, backends->header.revision);
    unread_ += backends->unread;
    view_.replace_backends(backends->kvs, trusts(backends->header), shared_.clocks.now());
    mirror_.replace(range, *backends);
    asked.push_back({range, backends->header.revision + 1});
  }
  position_.header = position;  // only now: a half-done attempt must not vouch for the next one
  trusted_ = position_;
  has_synced_ = true;
  plan_audit(begin);
  shared_.changed();
  co_return asked;
}

asio::awaitable<Result<>> EtcdFollower::read(etcd::Watch& watch, std::string endpoint, bool found) {
  const std::string backends = view_.backend_range();
  next_probe_ = shared_.clocks.steady() + kProbeAfter;
  HeartbeatPace pace;
  // Ends when the prefix of the backends changes: what is below the new one has to be listed.
  while (view_.backend_range() == backends) {
    const auto patience = found ? steady_clock::duration(kProbeAfter) : kLookElsewhere;
    auto batch = co_await watch.read(steady_clock::now() + patience);
    if (batch) {
      const auto look = view_.next_look();
      take(std::move(*batch));
      if (view_.backend_range() != backends) break;  // news only with the new backends
      // At once, without waiting for more: from put to first connection counts. A heartbeat that
      // changes nothing wakes nobody.
      const bool changed = view_.dirty() || view_.next_look() != look;
      if (changed) shared_.changed();
      watch.set_pace(pace.after(changed, shared_.clocks.steady()));
      // A full etcd may still delete: that it takes writes again is found out by asking.
      if (full_.empty()) next_probe_ = shared_.clocks.steady() + kProbeAfter;
    } else if (batch.error().code.value() != ETIMEDOUT) {
      co_return tl::unexpected(batch.error());
    }
    auto elsewhere = co_await check(endpoint, found);
    if (!elsewhere) co_return tl::unexpected(elsewhere.error());
    if (*elsewhere) co_return Result<>{};
  }
  co_return Result<>{};
}

asio::awaitable<Result<bool>> EtcdFollower::check(std::string endpoint, bool found) {
  const auto now = shared_.clocks.steady();
  if (now >= next_probe_) {
    next_probe_ = now + kProbeAfter;
    auto alive = co_await probe(endpoint);
    if (!alive) co_return tl::unexpected(alive.error());
  }
  if (now >= next_audit_) {
    auto audited = co_await audit(endpoint);
    if (!audited) co_return tl::unexpected(audited.error());
  }
  if (found) co_return false;
  auto choice = co_await shared_.cluster.choose(endpoint, view_.config_range(), std::nullopt);
  if (!choice) co_return tl::unexpected(choice.error());
  co_return choice->found && choice->version != position_.api;
}

asio::awaitable<Result<>> EtcdFollower::probe(std::string endpoint) {
  auto alive = co_await api().probe(endpoint, view_.config_range());
  if (!alive) co_return tl::unexpected(alive.error());
  if (alive->cluster != position_.header.cluster)
    co_return fail(ESTALE, fmt::format("{}: another cluster answers there now", endpoint));
  auto full = co_await api().full(endpoint);
  if (full && std::exchange(full_, *full) != *full) shared_.changed();
  co_return Result<>{};
}

void EtcdFollower::plan_audit(steady_clock::time_point began) {
  const auto now = shared_.clocks.steady();
  audit_pause_ = std::max<steady_clock::duration>(kListingEvery, kListingShare * (now - began));
  next_audit_ = now + audit_pause_;
}

// Two steps, so that the watch has time to deliver what the listing saw before it.
asio::awaitable<Result<>> EtcdFollower::audit(std::string endpoint) {
  if (mirror_.auditing()) {
    const std::string key = mirror_.end_audit();
    if (!key.empty())
      co_return fail(ESTALE, fmt::format("{}: the watch has missed a change of {}", endpoint, key));
    next_audit_ = shared_.clocks.steady() + audit_pause_;
    co_return Result<>{};
  }
  const std::string range = view_.backend_range();
  if (range.empty()) {
    next_audit_ = shared_.clocks.steady() + kListingEvery;
    co_return Result<>{};
  }
  const auto begin = shared_.clocks.steady();
  auto listing = co_await api().list(endpoint, range, below(range, is_backend_key));
  if (!listing) co_return tl::unexpected(listing.error());
  plan_audit(begin);
  mirror_.audit_from(std::move(*listing), range);
  next_audit_ = shared_.clocks.steady() + kAuditPatience;
  co_return Result<>{};
}

void EtcdFollower::take(etcd::Batch batch) {
  const Moment now = shared_.clocks.now();
  auto& revision = position_.header.revision;
  for (auto& event : batch.events) {
    revision = std::max(revision, event.kv.mod_revision);
    for (const auto& one : mirror_.apply(std::move(event))) view_.apply(one, now);
  }
  revision = std::max(revision, batch.header.revision);
  trusted_ = position_;
}

}  // namespace lb
