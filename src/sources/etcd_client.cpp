#include "sources/etcd_client.h"

#include <cerrno>

#include <fmt/format.h>

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kRangeTimeout = 5s;
constexpr auto kHeaderTimeout = 5s;  // etcd sends no header at all to a request it does not like

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

HttpRequest Client::post(const std::string& endpoint, const char* path, std::string body) const {
  HttpRequest request;
  request.method = "POST";
  request.url = without_slash(endpoint) + path;
  request.body = std::move(body);
  // A member that lost its leader answers 503 at once, instead of never.
  request.headers = {"Grpc-Metadata-Hasleader: true", "Content-Type: application/json"};
  request.tls = access_.tls;
  request.username = access_.username;
  request.password = access_.password;
  return request;
}

asio::awaitable<Result<RangeResponse>> Client::range(std::string endpoint, std::string prefix) {
  HttpRequest request = post(endpoint, "/v3/kv/range", range_request(prefix));
  request.timeout = kRangeTimeout;
  auto response = co_await http_.request(std::move(request));
  if (!response) co_return tl::unexpected(response.error());
  auto parsed = parse_range(response->status, response->body);
  if (!parsed)
    co_return fail(parsed.error().code,
                   fmt::format("{}: range of {}: {}", endpoint, prefix, parsed.error().context));
  co_return std::move(*parsed);
}

asio::awaitable<Result<Watch>> Client::watch(std::string endpoint,
                                             std::vector<WatchRequest> watches) {
  HttpRequest request = post(endpoint, "/v3/watch", watch_request(watches));
  request.timeout = kHeaderTimeout;
  auto stream = co_await http_.open(std::move(request));
  if (!stream) co_return tl::unexpected(stream.error());
  if (stream->status() == 200) co_return Watch(std::move(*stream));
  const int status = stream->status();
  const auto body = co_await stream->read_some(std::chrono::steady_clock::now() + 1s);
  co_return fail(EREMOTEIO,
                 fmt::format("{}: watch: {}", endpoint, error_text(status, body.value_or(""))));
}

asio::awaitable<Result<std::vector<WatchMessage>>> Watch::read(
    std::chrono::steady_clock::time_point deadline) {
  std::vector<WatchMessage> out;
  while (out.empty()) {
    auto bytes = co_await stream_.read_some(deadline);
    if (!bytes) co_return tl::unexpected(bytes.error());
    if (bytes->empty()) co_return fail(ECONNRESET, "etcd ended the watch");
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

}  // namespace lb::etcd
