#include "sources/merlion_publisher.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/text.h"

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// What changes after a look is looked at together: soon when little was written, since a backend that
// has failed is worth telling at once, and at most ten times a second when much is going on.
constexpr auto kPausePerWrite = 2ms;
constexpr steady_clock::duration kShortestPause = 10ms;
constexpr steady_clock::duration kLongestPause = 100ms;
// Heartbeats and connections that come and go tell nobody.
constexpr steady_clock::duration kLookEvery = 1s;
// Looking at ten thousand backends takes some milliseconds: 2 % of the time when something changes all
// the time, 0.2 % else.
constexpr int kBusyShare = 50;
constexpr int kIdleShare = 500;

}  // namespace

MerlionPublisher::MerlionPublisher(asio::io_context& io, etcd::Cluster& cluster, std::string host,
                                   const Clocks& clocks, std::function<Wanted()> wanted)
    : MerlionPublisher(
          io,
          Etcd{[&cluster](etcd::ApiVersion version) -> etcd::Api& { return cluster.api(version); },
               cluster.access().endpoints},
          std::move(host), clocks, std::move(wanted)) {}

MerlionPublisher::MerlionPublisher(asio::io_context& io, Etcd etcd, std::string host,
                                   const Clocks& clocks, std::function<Wanted()> wanted)
    : io_(io),
      etcd_(std::move(etcd)),
      host_(std::move(host)),
      clocks_(clocks),
      wanted_(std::move(wanted)),
      changed_(io.get_executor()),
      retry_(etcd_.endpoints.size()),
      random_(std::random_device{}()) {}

double MerlionPublisher::random() {
  return std::uniform_real_distribution<double>(0.0, 1.0)(random_);
}

// The loop's timers follow the real clock, whatever ours says.
MerlionPublisher::SteadyTime MerlionPublisher::on_loop(SteadyTime time) const {
  if (time == SteadyTime::max()) return time;
  return steady_clock::now() + (time - clocks_.steady());
}

asio::awaitable<void> MerlionPublisher::run() {
  asio::steady_timer timer(io_);
  for (;;) {
    timer.expires_at(on_loop(not_before_));
    const auto [ec] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
    const auto woken = co_await changed_.wait(on_loop(due_));
    if (woken == Event::Woken::Cancelled) co_return;
    co_await look();
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return;
  }
}

asio::awaitable<void> MerlionPublisher::look() {
  const auto result = co_await step(etcd_.endpoints.at(retry_.endpoint()));
  plan(result);
}

asio::awaitable<Result<>> MerlionPublisher::step(std::string endpoint) {
  const auto began = clocks_.steady();
  Wanted wanted = wanted_();
  if (publication_ &&
      (wanted.prefix != publication_->prefix() || wanted.api != publication_->version())) {
    auto left = co_await leave(endpoint);
    if (!left) co_return left;
  }
  if (wanted.prefix.empty()) co_return Result<>{};
  if (!is_key_segment(host_))
    co_return fail(EINVAL, fmt::format("{}: states are published under the name of this host, and "
                                       "'{}' cannot be part of a key: change the host name",
                                       wanted.prefix, printable(host_)));
  if (!publication_)
    publication_ = std::make_unique<MerlionPublication>(
        etcd_.api(wanted.api), MerlionPublication::Where{wanted.prefix, host_, etcd_.ttl}, clocks_,
        [this] { return random(); });
  publication_->want(std::move(wanted.state));
  cost_ = clocks_.steady() - began;
  auto advanced = co_await publication_->advance(endpoint);
  co_return advanced;
}

// What cannot be withdrawn goes with its lease; new states do not wait for that.
asio::awaitable<Result<>> MerlionPublisher::leave(std::string endpoint) {
  auto withdrawn = co_await publication_->withdraw(endpoint);
  if (!withdrawn && ++failed_withdrawals_ < etcd_.endpoints.size()) co_return withdrawn;
  failed_withdrawals_ = 0;
  publication_.reset();
  co_return Result<>{};
}

void MerlionPublisher::plan(const Result<>& result) {
  const auto now = clocks_.steady();
  found_full_ = !result && result.error().code.value() == ENOSPC;
  if (!result) {
    error_ = result.error().message();
    not_before_ = due_ = now + retry_.failed(random());
    return;
  }
  retry_.succeeded();
  error_.clear();
  not_before_ = now;
  due_ = now + std::max(kLookEvery, cost_ * kIdleShare);
  if (!publication_ || publication_->unfinished()) {
    if (publication_) due_ = now;
    return;
  }
  const auto pause = kPausePerWrite * static_cast<int>(publication_->last_writes());
  not_before_ =
      now + std::max(std::clamp<steady_clock::duration>(pause, kShortestPause, kLongestPause),
                     cost_ * kBusyShare);
  due_ = std::max(not_before_, std::min(due_, publication_->due()));
}

}  // namespace lb
