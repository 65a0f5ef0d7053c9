#include "etcd/v3_api.h"

#include <cerrno>

#include <fmt/format.h>

#include "etcd/v3_codec.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kRangeTimeout = 5s;
constexpr auto kHeaderTimeout = 5s;  // etcd sends no header at all to a request it does not like
constexpr std::size_t kMaxMessage = std::size_t{64} << 20;

class V3Watch final : public Watch {
 public:
  V3Watch(HttpStream stream, std::string endpoint, std::uint64_t cluster)
      : stream_(std::move(stream)),
        endpoint_(std::move(endpoint)),
        cluster_(cluster),
        lines_(kMaxMessage) {}

  asio::awaitable<Result<>> await_created(std::vector<WatchRequest> asked);
  asio::awaitable<Result<Batch>> read(std::chrono::steady_clock::time_point deadline) override;

 private:
  asio::awaitable<Result<std::vector<WatchMessage>>> messages(
      std::chrono::steady_clock::time_point deadline);
  Result<> take(WatchMessage message);

  HttpStream stream_;
  std::string endpoint_;
  std::uint64_t cluster_;
  LineSplitter lines_;
  Batch ready_;
  bool has_ready_ = false;
};

asio::awaitable<Result<std::vector<WatchMessage>>> V3Watch::messages(
    std::chrono::steady_clock::time_point deadline) {
  std::vector<WatchMessage> out;
  while (out.empty()) {
    auto bytes = co_await stream_.read_some(deadline);
    if (!bytes) co_return tl::unexpected(bytes.error());
    if (bytes->empty()) co_return fail(ECONNRESET, endpoint_ + ": etcd ended the watch");
    auto lines = lines_.feed(*bytes);
    if (!lines) co_return tl::unexpected(lines.error());
    for (const std::string& line : *lines) {
      auto message = parse_watch_message(line);
      if (!message) co_return tl::unexpected(message.error());
      out.push_back(std::move(*message));
    }
  }
  co_return out;
}

Result<> V3Watch::take(WatchMessage message) {
  if (message.compact_revision > 0)
    return fail(ESTALE, fmt::format("{}: the watched revision was compacted", endpoint_));
  if (message.canceled)
    return fail(EREMOTEIO,
                fmt::format("{}: etcd ended the watch: {}", endpoint_,
                            message.reason.empty() ? "no reason given" : message.reason));
  if (message.header.cluster != cluster_)
    return fail(ESTALE, fmt::format("{}: another cluster answers there now", endpoint_));
  ready_.header = message.header;
  for (auto& event : message.events) ready_.events.push_back(std::move(event));
  if (!message.created) has_ready_ = true;
  return {};
}

// A member that knows less than we do (restored, or another cluster behind the same address) accepts
// a watch from a future revision and then says nothing: only its `created` shows it.
asio::awaitable<Result<>> V3Watch::await_created(std::vector<WatchRequest> asked) {
  const auto deadline = std::chrono::steady_clock::now() + kHeaderTimeout;
  for (std::size_t created = 0; created < asked.size();) {
    auto some = co_await messages(deadline);
    if (!some) co_return tl::unexpected(some.error());
    for (auto& message : *some) {
      if (message.created && !message.canceled) {
        const auto needed = asked[created++].start_revision - 1;
        if (message.header.cluster != cluster_ || message.header.revision < needed)
          co_return fail(ESTALE, endpoint_ + ": answers for another or an older cluster");
        continue;
      }
      if (auto taken = take(std::move(message)); !taken) co_return taken;
    }
  }
  co_return Result<>{};
}

asio::awaitable<Result<Batch>> V3Watch::read(std::chrono::steady_clock::time_point deadline) {
  while (!has_ready_) {
    auto some = co_await messages(deadline);
    if (!some) co_return tl::unexpected(some.error());
    for (auto& message : *some)
      if (auto taken = take(std::move(message)); !taken) co_return tl::unexpected(taken.error());
  }
  has_ready_ = false;
  co_return std::exchange(ready_, {});
}

}  // namespace

HttpRequest V3Api::post(const std::string& endpoint, const char* path, std::string body) const {
  HttpRequest request;
  request.method = "POST";
  request.url = endpoint + path;
  request.body = std::move(body);
  // A member that lost its leader answers 503 at once, instead of never.
  request.headers = {"Grpc-Metadata-Hasleader: true", "Content-Type: application/json"};
  request.tls = access_.tls;
  request.timeout = kRangeTimeout;
  return request;
}

asio::awaitable<Result<Listing>> V3Api::list(std::string endpoint, std::string prefix) {
  auto response = co_await http_.request(post(endpoint, "/v3/kv/range", range_request(prefix)));
  if (!response) co_return tl::unexpected(response.error());
  auto parsed = parse_range(response->status, response->body);
  if (!parsed)
    co_return fail(parsed.error().code,
                   fmt::format("{}: range of {}: {}", endpoint, prefix, parsed.error().context));
  co_return Listing{parsed->header, std::move(parsed->kvs)};
}

asio::awaitable<Result<bool>> V3Api::has_keys(std::string endpoint, std::string prefix) {
  auto listed = co_await list(std::move(endpoint), std::move(prefix));
  if (!listed) co_return tl::unexpected(listed.error());
  co_return !listed->kvs.empty();
}

asio::awaitable<Result<std::unique_ptr<Watch>>> V3Api::watch(std::string endpoint,
                                                             std::uint64_t cluster,
                                                             std::vector<WatchRequest> requests) {
  auto stream = co_await http_.open(post(endpoint, "/v3/watch", watch_request(requests)));
  if (!stream) co_return tl::unexpected(stream.error());
  if (stream->status() != 200) {
    const int status = stream->status();
    const auto body = co_await stream->read_some(std::chrono::steady_clock::now() + 1s);
    co_return fail(EREMOTEIO,
                   fmt::format("{}: watch: {}", endpoint, error_text(status, body.value_or(""))));
  }
  auto watch = std::make_unique<V3Watch>(std::move(*stream), endpoint, cluster);
  auto created = co_await watch->await_created(std::move(requests));
  if (!created) co_return tl::unexpected(created.error());
  co_return watch;
}

asio::awaitable<Result<Header>> V3Api::probe(std::string endpoint, std::string key) {
  auto listed = co_await list(std::move(endpoint), std::move(key));
  if (!listed) co_return tl::unexpected(listed.error());
  co_return listed->header;
}

asio::awaitable<Result<>> V3Api::put(std::string, std::string, std::string, Lease) {
  co_return fail(ENOTSUP, "put");
}
asio::awaitable<Result<bool>> V3Api::create(std::string, std::string, std::string, Lease) {
  co_return fail(ENOTSUP, "create");
}
asio::awaitable<Result<>> V3Api::remove(std::string, std::string) {
  co_return fail(ENOTSUP, "remove");
}
asio::awaitable<Result<>> V3Api::remove_prefix(std::string, std::string) {
  co_return fail(ENOTSUP, "remove_prefix");
}
asio::awaitable<Result<Lease>> V3Api::grant(std::string, std::chrono::seconds) {
  co_return fail(ENOTSUP, "grant");
}
asio::awaitable<Result<>> V3Api::keep_alive(std::string, Lease, std::vector<std::string>) {
  co_return fail(ENOTSUP, "keep_alive");
}
asio::awaitable<Result<>> V3Api::revoke(std::string, Lease, std::vector<std::string>) {
  co_return fail(ENOTSUP, "revoke");
}

}  // namespace lb::etcd
