#include "relay/decoder.h"

#include <cerrno>
#include <functional>
#include <utility>

#include "base/beside.h"
#include "base/limits.h"

namespace lb::relay {
namespace {

using Decoded = Result<std::optional<Message>>;

// Takes less time than a thread is worth.
constexpr std::size_t kShort = 16 * 1024;
// Of orders: each signature in it, good or junk, takes a tenth of a millisecond.
constexpr std::size_t kShortSigned = 2 * 1024;
// 32 MiB take seconds on a slow host; this is for a host that is suspended.
constexpr std::chrono::minutes kPatience{10};

}  // namespace

asio::awaitable<Decoded> Decoder::decode(std::string line, IpAddress publish, From from) {
  if (line.size() <= kShortSigned ||
      (line.size() <= kShort && line.find("\"signature\"") == std::string::npos))
    co_return relay::decode(line, publish, from);
  Lane& lane = line.size() <= 2 * limits::kPiece ? pieces_ : long_ones_;
  if (std::exchange(lane.busy, true)) {
    const auto turn = std::make_shared<Event>(io_.get_executor());
    lane.waiting.push_back(turn);
    (void)co_await turn->wait();  // the lane is handed over
  }
  const auto text = std::make_shared<const std::string>(std::move(line));
  const std::function<Decoded()> job = [text, publish, from] {
    return relay::decode(*text, publish, from);
  };
  auto out = co_await beside(job, kPatience);
  if (lane.waiting.empty()) {
    lane.busy = false;
  } else {
    lane.waiting.front()->notify();
    lane.waiting.pop_front();
  }
  if (!out && out.error().code == std::errc::resource_unavailable_try_again)
    out = relay::decode(*text, publish, from);  // all threads hang
  co_return out;
}

}  // namespace lb::relay
