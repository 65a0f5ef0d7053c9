// The HTTP client against a server in the same thread, which answers what each test scripted.
#include "http/client.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "base/spawn.h"

namespace lb {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

// Answers every request on every connection with `reply(number of the request)`; an empty reply is
// silence, a reply that starts with '!' closes the connection after the rest was sent.
class ScriptedServer {
 public:
  using Reply = std::function<std::string(int)>;
  ScriptedServer(asio::io_context& io, Reply reply)
      : io_(io), acceptor_(io, {asio::ip::address_v4::loopback(), 0}), reply_(std::move(reply)) {
    spawn(io, "server", [this] { return accept(); });
  }
  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return fmt::format("http://127.0.0.1:{}{}", acceptor_.local_endpoint().port(), path);
  }
  void stop() {
    acceptor_.close();
    for (auto& socket : sockets_) socket->close();
  }
  [[nodiscard]] std::size_t connections() const { return sockets_.size(); }
  std::vector<std::string> requests;
  int hung_up = 0;

 private:
  asio::awaitable<void> accept() {
    for (;;) {
      auto socket = std::make_shared<tcp::socket>(io_);
      const auto [ec] = co_await acceptor_.async_accept(*socket, kTuple);
      if (ec) co_return;
      sockets_.push_back(socket);
      spawn(io_, "connection", [this, socket] { return serve(socket); });
    }
  }

  asio::awaitable<void> serve(std::shared_ptr<tcp::socket> socket) {
    asio::streambuf buffer;
    for (;;) {
      const auto [ec, n] = co_await asio::async_read_until(*socket, buffer, "\r\n\r\n", kTuple);
      if (ec) {
        ++hung_up;
        co_return;
      }
      const auto* head = static_cast<const char*>(buffer.data().data());
      requests.emplace_back(head, n);
      buffer.consume(buffer.size());  // bodies of the tests fit in the same packet
      std::string reply = reply_(++count_);
      const bool close = reply.starts_with('!');
      if (close) reply.erase(0, 1);
      const auto written = co_await asio::async_write(*socket, asio::buffer(reply), kTuple);
      if (close || std::get<0>(written)) {
        socket->close();
        co_return;
      }
    }
  }

  asio::io_context& io_;
  tcp::acceptor acceptor_;
  Reply reply_;
  int count_ = 0;
  std::vector<std::shared_ptr<tcp::socket>> sockets_;
};

std::string ok(const std::string& body) {
  return fmt::format("HTTP/1.1 200 OK\r\nX-Test: Yes \r\nContent-Length: {}\r\n\r\n{}", body.size(),
                     body);
}

HttpRequest get(std::string url) {
  HttpRequest r;
  r.url = std::move(url);
  return r;
}

class HttpClientTest : public testing::Test {
 protected:
  // Runs `test` to its end, then lets everything else end too.
  template <class Fn>
  void run(Fn test) {
    bool finished = false;
    spawn(io_, "test", [&]() -> asio::awaitable<void> {
      co_await test();
      finished = true;
      if (server_) server_->stop();
      io_.stop();
    });
    io_.run_for(10s);
    EXPECT_TRUE(finished);
  }
  void serve(ScriptedServer::Reply reply) {
    server_ = std::make_unique<ScriptedServer>(io_, std::move(reply));
  }

  asio::io_context io_{1};
  std::unique_ptr<ScriptedServer> server_;
  HttpClient client_{io_};
};

TEST_F(HttpClientTest, ReturnsStatusHeadersAndBody) {
  serve([](int) { return ok("hello"); });
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get(server_->url("/a?b=c")));
    EXPECT_TRUE(response) << response.error().message();
    if (!response) co_return;
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "hello");
    EXPECT_EQ(response->headers.at("x-test"), "Yes");
    EXPECT_TRUE(server_->requests.at(0).starts_with("GET /a?b=c HTTP/1.1\r\n"));
  });
}

TEST_F(HttpClientTest, AStatusOfFailureIsStillAnAnswer) {
  serve([](int) { return "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"; });
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get(server_->url()));
    EXPECT_EQ(response.value().status, 503);
    EXPECT_EQ(response.value().body, "no");
  });
}

TEST_F(HttpClientTest, RunsRequestsInParallelAndKeepsConnectionsAlive) {
  serve([](int n) { return ok(std::to_string(n)); });
  run([&]() -> asio::awaitable<void> {
    for (int round = 0; round < 20; ++round) {
      auto a = client_.request(get(server_->url()));
      auto b = client_.request(get(server_->url()));
      auto c = client_.request(get(server_->url()));
      const auto [ra, rb, rc] = co_await (std::move(a) && std::move(b) && std::move(c));
      EXPECT_TRUE(ra && rb && rc);
    }
    EXPECT_EQ(server_->requests.size(), 60U);
    EXPECT_LE(server_->connections(), 4U);
  });
}

TEST_F(HttpClientTest, RefusedPortIsEconnrefused) {
  serve([](int) { return ""; });
  const std::string url = server_->url();
  server_->stop();
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get(url));
    EXPECT_FALSE(response);
    EXPECT_EQ(response.error().code.value(), ECONNREFUSED);
    EXPECT_NE(response.error().message().find(url), std::string::npos);
  });
}

TEST_F(HttpClientTest, SilenceIsEtimedout) {
  serve([](int) { return ""; });
  run([&]() -> asio::awaitable<void> {
    auto request = get(server_->url());
    request.timeout = 50ms;
    const auto response = co_await client_.request(request);
    EXPECT_EQ(response.error().code.value(), ETIMEDOUT);
    auto again = get(server_->url());
    again.timeout = 50ms;
    const auto stream = co_await client_.open(again);
    EXPECT_EQ(stream.error().code.value(), ETIMEDOUT);
  });
}

TEST_F(HttpClientTest, ACutBodyIsAnErrorAndNotAShortAnswer) {
  serve([](int) { return "!HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"; });
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get(server_->url()));
    EXPECT_FALSE(response);
    EXPECT_EQ(response.error().code.value(), ECONNRESET);
  });
}

TEST_F(HttpClientTest, TooLargeABodyIsEmsgsize) {
  serve([](int) { return ok(std::string(1000, 'x')); });
  run([&]() -> asio::awaitable<void> {
    auto request = get(server_->url());
    request.max_body = 999;
    const auto response = co_await client_.request(request);
    EXPECT_EQ(response.error().code.value(), EMSGSIZE);
  });
}

TEST_F(HttpClientTest, CancellingARequestClosesItsConnection) {
  serve([](int) { return ""; });
  run([&]() -> asio::awaitable<void> {
    asio::steady_timer timer(io_, 50ms);
    auto request = client_.request(get(server_->url()));
    auto deadline = timer.async_wait(kTuple);
    const auto winner = co_await (std::move(request) || std::move(deadline));
    EXPECT_EQ(winner.index(), 1U);
    timer.expires_after(50ms);
    co_await timer.async_wait(kTuple);
    EXPECT_EQ(server_->hung_up, 1);
  });
}

TEST_F(HttpClientTest, PostsItsBodyWithHeadersAndPassword) {
  serve([](int) { return ok(""); });
  run([&]() -> asio::awaitable<void> {
    HttpRequest request = get(server_->url());
    request.method = "POST";
    request.body = "{}";
    request.headers.emplace_back("Grpc-Metadata-Hasleader: true");
    request.username = "me";
    request.password = "secret";
    const auto response = co_await client_.request(request);
    EXPECT_TRUE(response);
    const std::string seen = server_->requests.at(0);
    EXPECT_NE(seen.find("POST / HTTP/1.1"), std::string::npos);
    EXPECT_NE(seen.find("Grpc-Metadata-Hasleader: true"), std::string::npos);
    EXPECT_NE(seen.find("Authorization: Basic bWU6c2VjcmV0"), std::string::npos);
    EXPECT_NE(seen.find("Content-Length: 2"), std::string::npos);
  });
}

TEST_F(HttpClientTest, IgnoresTheProxyOfTheEnvironment) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  serve([](int) { return ok("direct"); });
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get(server_->url()));
    EXPECT_EQ(response.value().body, "direct");
  });
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
}

TEST_F(HttpClientTest, AnUnusableUrlIsAnErrorAtOnce) {
  run([&]() -> asio::awaitable<void> {
    const auto response = co_await client_.request(get("ftp://127.0.0.1/"));
    EXPECT_EQ(response.error().code.value(), EINVAL);
  });
}

TEST_F(HttpClientTest, AStreamDeliversPiecesAndThenItsOrderlyEnd) {
  serve([](int) {
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
  });
  run([&]() -> asio::awaitable<void> {
    auto opened = co_await client_.open(get(server_->url()));
    HttpStream stream = std::move(opened).value();
    EXPECT_EQ(stream.status(), 200);
    const auto piece = co_await stream.read_some();
    EXPECT_EQ(piece.value(), "hello");
    const auto end = co_await stream.read_some();
    EXPECT_EQ(end.value(), "");
  });
}

TEST_F(HttpClientTest, AStreamCutWithoutItsLastChunkIsAnErrorAfterTheData) {
  serve([](int) { return "!HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"; });
  run([&]() -> asio::awaitable<void> {
    auto opened = co_await client_.open(get(server_->url()));
    HttpStream stream = std::move(opened).value();
    const auto piece = co_await stream.read_some();
    EXPECT_EQ(piece.value(), "hello");
    const auto end = co_await stream.read_some();
    EXPECT_FALSE(end);
    EXPECT_EQ(end.error().code.value(), ECONNRESET);
  });
}

TEST_F(HttpClientTest, DestroyingAStreamClosesItsConnection) {
  serve([](int) { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"; });
  run([&]() -> asio::awaitable<void> {
    {
      auto opened = co_await client_.open(get(server_->url()));
      EXPECT_TRUE(opened);
    }
    asio::steady_timer timer(io_, 50ms);
    co_await timer.async_wait(kTuple);
    EXPECT_EQ(server_->hung_up, 1);
  });
}

TEST_F(HttpClientTest, ACancelledReadLosesNothing) {
  serve([](int) { return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"; });
  run([&]() -> asio::awaitable<void> {
    auto opened = co_await client_.open(get(server_->url()));
    HttpStream stream = std::move(opened).value();
    asio::steady_timer timer(io_, 20ms);
    auto read = stream.read_some();
    auto deadline = timer.async_wait(kTuple);
    const auto winner = co_await (std::move(read) || std::move(deadline));
    EXPECT_EQ(winner.index(), 1U);
    auto again = stream.read_some();
    timer.expires_after(20ms);
    auto deadline2 = timer.async_wait(kTuple);
    const auto winner2 = co_await (std::move(again) || std::move(deadline2));
    EXPECT_EQ(winner2.index(), 1U);
  });
}

TEST(HttpClientLifetime, RequestsEndWhenTheClientIsDestroyed) {
  asio::io_context io{1};
  auto client = std::make_unique<HttpClient>(io);
  ScriptedServer server(io, [](int) { return ""; });
  std::optional<Error> error;
  spawn(io, "request", [&]() -> asio::awaitable<void> {
    const auto response = co_await client->request(get(server.url()));
    error = response.error();
    io.stop();
  });
  asio::steady_timer timer(io, 30ms);
  timer.async_wait([&](auto) { client.reset(); });
  io.run_for(5s);
  EXPECT_TRUE(error);
  EXPECT_EQ(error->code.value(), ECANCELED);
}

TEST(HttpClientLifetime, TheLoopMayBeDestroyedWithRequestsInFlight) {
  auto io = std::make_unique<asio::io_context>(1);
  auto client = std::make_unique<HttpClient>(*io);
  auto server = std::make_unique<ScriptedServer>(*io, [](int) { return ""; });
  const std::string url = server->url();
  for (int i = 0; i < 3; ++i)
    spawn(*io, "request", [&]() -> asio::awaitable<void> {
      const auto response = co_await client->request(get(url));
      (void)response;
    });
  io->run_for(30ms);
  server.reset();
  client.reset();
  io.reset();  // under ASan: nothing is used after it was freed, nothing leaks
}

}  // namespace
}  // namespace lb
