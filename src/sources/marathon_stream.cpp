#include "sources/marathon_stream.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// A stream that lived shorter was no success.
constexpr auto kStableStream = 5s;
constexpr auto kLongestStreamRest = 30'000ms;

}  // namespace

MarathonStream::MarathonStream(marathon::Client& client, const Clocks& clocks, Hooks hooks,
                               std::chrono::milliseconds silence)
    : client_(client),
      clocks_(clocks),
      hooks_(std::move(hooks)),
      silence_(silence),
      endpoints_(client.access().endpoints.size(), kLongestStreamRest),
      random_(std::random_device{}()) {}

asio::awaitable<void> MarathonStream::run() {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (;;) {
    const auto choice = endpoints_.choose(clocks_.steady(), random());
    auto pause = choice.not_before - clocks_.steady();
    if (pause <= 0s) {
      const auto began = clocks_.steady();
      auto ended = co_await follow(choice.index);
      if (ended.error().code.value() == ECANCELED) co_return;
      const bool was_open = std::exchange(open_, false);
      error_ = ended.error().message();
      pause = after(ended.error(), choice.index, clocks_.steady() - began);
      hooks_.closed(was_open);
    }
    timer.expires_after(pause);
    const auto [ec] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
  }
}

steady_clock::duration MarathonStream::after(const Error& error, std::size_t index,
                                             steady_clock::duration lived) {
  const auto now = clocks_.steady();
  if (lived >= kStableStream) endpoints_.succeeded(index);
  // A version without a stream stays without one until it is upgraded; the others may have one.
  if (error.code.value() == ENOTSUP)
    endpoints_.rest_longest(index, now, random());
  else
    endpoints_.failed(index, now, random());
  // Another endpoint is asked a moment later, and not by the whole fleet at once.
  const auto next = endpoints_.choose(now, random()).not_before - now;
  const auto spread = std::chrono::milliseconds(static_cast<int>(100 * random()));
  return std::max<steady_clock::duration>(next, spread);
}

// Ends with an error always.
asio::awaitable<Result<>> MarathonStream::follow(std::size_t index) {
  auto feed = co_await client_.events(client_.access().endpoints.at(index));
  if (!feed) co_return tl::unexpected(std::move(feed.error()));
  open_ = true;
  error_.clear();
  hooks_.opened();
  for (;;) {
    auto events = co_await feed->read(steady_clock::now() + silence_);
    if (!events && events.error().code.value() == ETIMEDOUT)
      co_return fail(fmt::format("{}: the event stream was silent for {}", feed->from(),
                                 format_duration(silence_)));
    if (!events) co_return tl::unexpected(std::move(events.error()));
    if (!events->empty()) hooks_.events(*std::move(events));
  }
}

}  // namespace lb
