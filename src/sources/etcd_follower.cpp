#include "sources/etcd_follower.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb {
namespace {

using namespace std::chrono_literals;

constexpr auto kCreatedTimeout = 5s;
// A watch that lived shorter was no success: else a member that accepts and drops every watch would
// be asked a hundred times a second.
constexpr auto kStable = 10s;

}  // namespace

asio::awaitable<void> EtcdFollower::run() {
  asio::steady_timer timer(shared_.io);
  for (;;) {
    const auto started = shared_.clocks.steady();
    auto result = co_await follow(endpoint());
    const bool was_watching = std::exchange(watching_, false);
    view_.lost();
    if (result) continue;
    if (result.error().code.value() == ECANCELED) co_return;
    if (was_watching && shared_.clocks.steady() - started >= kStable) retry_.succeeded();
    error_ = result.error().message();
    shared_.changed();
    std::uniform_real_distribution<double> unit(0.0, 1.0);
    timer.expires_after(retry_.failed(unit(random_)));
    const auto [ec] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
  }
}

asio::awaitable<Result<>> EtcdFollower::follow(std::string endpoint) {
  auto asked = co_await sync(endpoint);
  if (!asked) co_return tl::unexpected(asked.error());
  const std::string backends = view_.backend_range();
  auto opened = co_await shared_.client.watch(endpoint, *asked);
  if (!opened) co_return tl::unexpected(opened.error());
  etcd::Watch watch = std::move(*opened);
  auto created = co_await await_created(watch, *asked);
  if (!created) co_return tl::unexpected(created.error());
  watching_ = true;
  error_.clear();
  shared_.changed();
  // Already false when the prefix of the backends changed while the watch was being created.
  while (view_.backend_range() == backends) {
    auto messages = co_await watch.read();
    if (!messages)
      co_return fail(messages.error().code,
                     fmt::format("{}: watch: {}", endpoint, messages.error().context));
    const auto look = view_.next_look();
    for (const auto& message : *messages)
      if (auto taken = take(message); !taken) co_return taken;
    if (view_.backend_range() != backends) break;  // news only with the new backends
    // At once, without waiting for more: from put to first connection counts. A heartbeat that
    // changes nothing wakes nobody.
    if (view_.dirty() || view_.next_look() != look) shared_.changed();
  }
  co_return Result<>{};
}

asio::awaitable<Result<std::vector<etcd::WatchRequest>>> EtcdFollower::sync(std::string endpoint) {
  const etcd::Header before = position_;
  const auto trusted = [before](const etcd::Header& h) {
    return before.cluster == 0 || (h.cluster == before.cluster && h.revision >= before.revision);
  };
  auto config = co_await shared_.client.range(endpoint, view_.config_range());
  if (!config) co_return tl::unexpected(config.error());
  etcd::Header position = config->header;
  view_.replace_config(config->kvs, trusted(config->header), shared_.clocks.now());
  std::vector<etcd::WatchRequest> asked{{view_.config_range(), config->header.revision + 1}};
  const std::string range = view_.backend_range();
  if (!range.empty()) {
    auto backends = co_await shared_.client.range(endpoint, range);
    if (!backends) co_return tl::unexpected(backends.error());
    if (backends->header.cluster != config->header.cluster)
      co_return fail(fmt::format("{}: two clusters answer there", endpoint));
    position.revision = std::max(position.revision, backends->header.revision);
    view_.replace_backends(backends->kvs, trusted(backends->header), shared_.clocks.now());
    asked.push_back({range, backends->header.revision + 1});
  }
  position_ = position;  // only now: a half-done attempt must not vouch for the next one
  has_synced_ = true;
  shared_.changed();
  co_return asked;
}

// A member that knows less than we do (restored, or another cluster behind the same address) accepts
// a watch from a future revision and then says nothing: only its `created` shows it.
asio::awaitable<Result<>> EtcdFollower::await_created(etcd::Watch& watch,
                                                      std::vector<etcd::WatchRequest> asked) {
  const auto deadline = std::chrono::steady_clock::now() + kCreatedTimeout;
  for (std::size_t created = 0; created < asked.size();) {
    auto messages = co_await watch.read(deadline);
    if (!messages) co_return tl::unexpected(messages.error());
    for (const auto& message : *messages) {
      if (message.created && !message.canceled) {
        const auto needed = asked[created++].start_revision - 1;
        if (message.header.cluster != position_.cluster || message.header.revision < needed)
          co_return fail(fmt::format("{}: answers for another or an older cluster",
                                     shared_.endpoints[retry_.endpoint()]));
        continue;
      }
      if (auto taken = take(message); !taken) co_return taken;
    }
  }
  co_return Result<>{};
}

Result<> EtcdFollower::take(const etcd::WatchMessage& message) {
  if (message.compact_revision > 0)
    return fail(fmt::format("{}: the watched revision was compacted", endpoint()));
  if (message.canceled)
    return fail(fmt::format("{}: etcd ended the watch: {}", endpoint(),
                            message.reason.empty() ? "no reason given" : message.reason));
  if (message.header.cluster != position_.cluster)
    return fail(fmt::format("{}: another cluster answers there now", endpoint()));
  const Moment now = shared_.clocks.now();
  for (const auto& event : message.events) {
    view_.apply(event, now);
    position_.revision = std::max(position_.revision, event.kv.mod_revision);
  }
  // Progress: nothing in these ranges up to there.
  if (message.events.empty() && !message.created)
    position_.revision = std::max(position_.revision, message.header.revision);
  return {};
}

}  // namespace lb
