// A server of the push protocol and its listeners on one loop, over real sockets.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "relay/connection.h"
#include "relay/fleet.h"
#include "relay/message.h"
#include "relay/server.h"
#include "support/certificates.h"
#include "support/sandbox.h"
#include "support/snapshot_builder.h"

namespace lb::relay {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ConnectionPtr = std::unique_ptr<Connection>;

class RelayTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Runs the loop until the coroutine has ended; everybody else on it goes on meanwhile.
  template <class T>
  T run(asio::awaitable<T> work) {
    std::optional<T> out;
    std::exception_ptr thrown;
    asio::co_spawn(io_, std::move(work), [&](std::exception_ptr error, T value) {
      thrown = std::move(error);
      out.emplace(std::move(value));
    });
    io_.restart();
    while (!out) io_.run_one();
    if (thrown) std::rethrow_exception(thrown);
    return *std::move(out);
  }
  bool until(const std::function<bool()>& condition, milliseconds limit = 10s);
  void wait(milliseconds time);

  Result<> open(ServerConfig config = {});
  [[nodiscard]] HostPort where() const;

  Result<ConnectionPtr> dial(TlsFiles tls = {}, std::string host = "127.0.0.1");
  // Dials and says hello; fails the test when that does not work.
  ConnectionPtr listener(std::string node, std::optional<Position> have = {}, bool wants = true,
                         std::vector<FleetOrder> orders = {}, TlsFiles tls = {});
  void say(Connection& to, const Message& message);
  void say_line(Connection& to, std::string line);
  // The next message but pings. The limit is generous; what must not come is told by a Goodbye or a
  // change of state instead.
  Result<Message> hear(Connection& from, milliseconds patience = 10s);
  // Which must be of this type.
  template <class T>
  T hear_a(Connection& from) {
    Result<Message> message = hear(from);
    EXPECT_TRUE(message) << message.error().message();
    T* wanted = message ? std::get_if<T>(&*message) : nullptr;
    EXPECT_NE(wanted, nullptr) << (message ? encode(*message) : "");
    return wanted == nullptr ? T{} : std::move(*wanted);
  }
  // Its last words, until the server has closed it.
  std::string last_words(Connection& from);

  [[nodiscard]] std::string file(const std::string& name) const;
  [[nodiscard]] std::size_t connected() const;
  // So many lines of the log contain it.
  [[nodiscard]] int logged(const std::string& part) const;

  std::unique_ptr<test::Sandbox> sandbox_;
  asio::io_context io_{1};
  FleetOrders orders_;
  int adopted_ = 0;
  std::unique_ptr<Server> server_;
  std::vector<std::string> log_;
};

class RelayTlsTest : public RelayTest {
 protected:
  void SetUp() override;
  [[nodiscard]] TlsFiles files(const std::string& name) const;
  // Why a listener with these files does not get through: the server judges only after our side of the
  // handshake has ended, so it may come with the first line.
  std::string refusal(TlsFiles tls, const std::string& host = "127.0.0.1",
                      const std::string& node = "n");
  bool refuses(TlsFiles tls, const std::string& why, const std::string& host = "127.0.0.1");
  // A certificate of this authority for 127.0.0.1 and node n1 that ends in `left`.
  void sign_for(const std::string& name, std::chrono::seconds left) const;

  std::unique_ptr<test::Certificates> authority_;
};

// "10.0.0.5:80" with one backend at this port.
ServicePtr web(int port);

}  // namespace lb::relay
