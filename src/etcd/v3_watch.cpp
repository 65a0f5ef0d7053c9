#include "etcd/v3_watch.h"

#include <cerrno>
#include <functional>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/beside.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kHeaderTimeout = 5s;  // etcd sends no header at all to a request it does not like
constexpr auto kRefusalTimeout = 1s;
constexpr std::size_t kMaxMessage = std::size_t{64} << 20;
constexpr std::size_t kMaxRefusal = std::size_t{64} << 10;

std::string prefixes_of(const std::vector<WatchRequest>& requests) {
  std::string out;
  for (const WatchRequest& request : requests) out += (out.empty() ? "" : " and ") + request.prefix;
  return out;
}

// As much of it as comes: what is missing changes the words, not the fact.
asio::awaitable<std::string> refusal_body(HttpStream stream) {
  const auto deadline = steady_clock::now() + kRefusalTimeout;
  std::string body;
  while (body.size() < kMaxRefusal) {
    auto some = co_await stream.read_some(deadline);
    if (!some || some->empty()) break;
    body += *some;
  }
  co_return body;
}

}  // namespace

// What is large is parsed beside the loop: the thread has the assembler meanwhile, which outlives this object if need be.
asio::awaitable<Result<>> V3Watch::feed(std::string bytes) {
  const bool whole = bytes.find('\n') != std::string::npos;
  if (!whole || assembler_.pending() + bytes.size() < kLargeText) co_return assembler_.feed(bytes);
  const auto away = std::make_shared<WatchAssembler>(std::move(assembler_));
  std::function<Result<bool>()> job = [away, bytes = std::move(bytes)]() -> Result<bool> {
    LB_CHECK(away->feed(bytes));
    return true;
  };
  const auto fed = co_await off_loop<bool>(std::move(job));
  if (!fed && fed.error().code.value() == ECANCELED) co_return tl::unexpected(fed.error());
  assembler_ = std::move(*away);
  if (!fed) co_return tl::unexpected(fed.error());
  co_return Result<>{};
}

asio::awaitable<Result<>> V3Watch::read_more(steady_clock::time_point deadline) {
  auto bytes = co_await stream_.read_some(deadline);
  if (!bytes) co_return tl::unexpected(std::move(bytes.error()));
  Result<> fed;
  if (bytes->empty())
    fed = tl::unexpected(assembler_.end());
  else
    fed = co_await feed(std::move(*bytes));
  if (!fed) fed.error().context = fmt::format("{}: {}", endpoint_, fed.error().context);
  co_return fed;
}

asio::awaitable<Result<>> V3Watch::await_confirmation(steady_clock::time_point deadline) {
  while (!assembler_.confirmed()) {
    auto more = co_await read_more(deadline);
    if (!more) co_return more;
  }
  co_return Result<>{};
}

asio::awaitable<Result<Batch>> V3Watch::read(steady_clock::time_point deadline) {
  for (;;) {
    if (auto batch = assembler_.next()) co_return std::move(*batch);
    auto more = co_await read_more(deadline);
    if (!more) co_return tl::unexpected(std::move(more.error()));
  }
}

asio::awaitable<Result<std::unique_ptr<Watch>>> open_v3_watch(HttpClient& http, V3Gateway& gateway,
                                                              std::string endpoint,
                                                              std::uint64_t cluster,
                                                              std::vector<WatchRequest> requests) {
  V3Gateway::Call call{endpoint, "/watch", {}, "watch " + prefixes_of(requests), kHeaderTimeout};
  for (bool again = false;; again = true) {
    auto attempt = co_await gateway.prepare(call);
    if (!attempt) co_return tl::unexpected(std::move(attempt.error()));
    attempt->request.body = watch_request(requests, attempt->gateway.fragments);
    attempt->request.max_body = kMaxMessage;
    const auto deadline = steady_clock::now() + kHeaderTimeout;
    auto stream = co_await http.open(attempt->request);
    if (!stream) {
      if (stream.error().code.value() != ECANCELED) gateway.forget(endpoint);
      stream.error().context = call.what + ": " + stream.error().context;
      co_return tl::unexpected(std::move(stream.error()));
    }
    Refusal refusal;
    if (const int status = stream->status(); status != 200) {
      const std::string body = co_await refusal_body(std::move(*stream));
      refusal = parse_refusal(status, body);
      refusal.error.context = fmt::format("{}: {}", endpoint, refusal.error.context);
    } else {
      auto watch = std::make_unique<V3Watch>(std::move(*stream), endpoint,
                                             WatchAssembler(cluster, requests, kMaxMessage));
      auto confirmed = co_await watch->await_confirmation(deadline);
      if (confirmed) co_return watch;
      refusal = {std::move(confirmed.error()), watch->wants_token()};
      if (refusal.error.code.value() == EBADMSG) gateway.forget(endpoint);
    }
    const bool worth = gateway.worth_another(call, *attempt, refusal);
    if (again || !worth) {
      refusal.error.context = call.what + ": " + refusal.error.context;
      co_return tl::unexpected(std::move(refusal.error));
    }
  }
}

}  // namespace lb::etcd
