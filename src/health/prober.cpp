#include "health/prober.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/direct_socket.h"
#include "base/text.h"
#include "model/check_limits.h"

namespace lb {
namespace {

using asio::ip::tcp;
using std::chrono::steady_clock;

// The status decides. This much of a body is taken in nevertheless, so that small answers end in
// order and not by a reset in the middle of the server's write.
constexpr std::size_t kPoliteBody = std::size_t{64} << 10;

// curl walks a good part of its transfers with each event: with a thousand that wait for slow backends
// that took four fifths of the time. Many small crowds are cheaper than a large one.
constexpr std::size_t kHttpClients = 32;

tcp::endpoint endpoint_of(const Address& address) {
  const auto& bytes = address.ip.bytes();
  if (!address.ip.is_v4()) return {asio::ip::address_v6(bytes), address.port};
  asio::ip::address_v4::bytes_type v4;
  std::copy(bytes.end() - 4, bytes.end(), v4.begin());
  return {asio::ip::address_v4(v4), address.port};
}

// An attempt and its end, which may both come in the same turn of the loop.
struct Attempt {
  explicit Attempt(asio::io_context& io) : socket(io), timer(io) {}
  tcp::socket socket;
  asio::steady_timer timer;
  bool done = false, late = false;
};

Result<> open(Attempt& attempt, const tcp::endpoint& to) {
  boost::system::error_code ec;
  attempt.socket.open(to.protocol(), ec);
  if (ec) return fail(ec, "socket");
  const int fd = attempt.socket.native_handle();
  // Without the privilege there are no hooks of ours either.
  make_direct(fd);
  // Ends with a reset: thousands of probes would leave as many sockets in TIME_WAIT each minute.
  const linger reset{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  return {};
}

}  // namespace

Prober::Prober(asio::io_context& io) : io_(io) {}

asio::awaitable<Result<>> Prober::probe(Address address, HealthCheck check) {
  if (check.type == HealthCheck::Type::Tcp) return probe_tcp(address, std::move(check));
  return probe_http(address, std::move(check));
}

asio::awaitable<Result<>> Prober::probe_tcp(Address address, HealthCheck check) {
  const auto attempt = std::make_shared<Attempt>(io_);
  const tcp::endpoint to = endpoint_of(address);
  const Result<> opened = open(*attempt, to);
  if (!opened) co_return tl::unexpected(opened.error());
  attempt->timer.expires_after(check.timeout);
  attempt->timer.async_wait([attempt](const boost::system::error_code& ec) {
    if (ec || attempt->done) return;
    attempt->late = true;
    boost::system::error_code ignored;
    attempt->socket.cancel(ignored);
  });
  const auto [ec] = co_await attempt->socket.async_connect(to, asio::as_tuple(asio::use_awaitable));
  attempt->done = true;
  attempt->timer.cancel();
  boost::system::error_code ignored;
  attempt->socket.close(ignored);
  if (!ec) co_return Result<>();
  if (attempt->late)
    co_return fail(ETIMEDOUT, fmt::format("connect within {}", format_duration(check.timeout)));
  co_return fail(ec, "connect");
}

asio::awaitable<Result<>> Prober::probe_http(Address address, HealthCheck check) {
  const auto deadline = steady_clock::now() + check.timeout;
  HttpRequest request;
  auto url = probe_url(address, check.path);
  if (!url) co_return tl::unexpected(url.error());
  request.url = *std::move(url);
  request.headers = {"Connection: close", "User-Agent: lbd-health-check"};
  request.connect_timeout = check.timeout;
  request.timeout = check.timeout;
  request.max_body = kPoliteBody;
  request.direct = true;
  if (http_.size() < kHttpClients) http_.emplace_back(io_);
  HttpClient& client = http_[next_++ % http_.size()];
  auto stream = co_await client.open(std::move(request));
  if (!stream) co_return tl::unexpected(stream.error());
  const int status = stream->status();
  if (status < 200 || status > 399)
    co_return fail(fmt::format("GET {}: status {}", check.path, status));
  std::size_t taken = 0;
  while (taken < kPoliteBody) {
    const Result<std::string> more = co_await stream->read_some(deadline);
    if (!more || more->empty()) break;
    taken += more->size();
  }
  co_return Result<>();
}

Result<std::string> probe_url(const Address& address, std::string_view path) {
  // Without the slash the path would go on with the address: "http://10.0.0.1:80@other/".
  if (!check_limits::is_path(path))
    return fail(ECANCELED, fmt::format("'{}' is no path", printable(path)));
  return fmt::format("http://{}{}", address.to_string(), path);
}

bool tells_of_backend(const Error& error) {
  for (const int own : {EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL, ECANCELED})
    if (error.code == std::error_code(own, std::generic_category()) ||
        error.code == std::error_code(own, std::system_category()))
      return false;
  return true;
}

}  // namespace lb
