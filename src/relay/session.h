// One listener at a server: what it has, and what it is to be told next. Nothing is queued: whenever the
// last message has been written, the newest state decides on the next one.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "base/event.h"
#include "relay/connection.h"
#include "relay/hub.h"
#include "relay/message.h"

namespace lb::relay {

class Session : public std::enable_shared_from_this<Session> {
 public:
  // `host`: the address of the other side.
  Session(std::shared_ptr<Hub> hub, Hub::Id id, std::string host, asio::ip::tcp::socket socket,
          std::shared_ptr<asio::ssl::context> tls);

  // From the handshake to the end.
  asio::awaitable<void> run();
  void wake() { wake_.notify(); }
  // Ends it, with the reason as the last message.
  void say_goodbye(std::string reason);
  void close();
  // At once, to make room for others. Logs why, and tells it if that can be done without waiting.
  void cut(const std::string& reason);
  // Others need the memory.
  void forget_counts();
  void forget_reports();

  [[nodiscard]] Hub::Id id() const { return id_; }
  [[nodiscard]] bool greeted() const { return greeted_; }
  // What it has said; without what follows from our own state.
  [[nodiscard]] const ListenerView& known() const { return view_; }
  // With so many backends at most.
  [[nodiscard]] ListenerView view(std::size_t backends) const;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Sent {
    std::uint64_t sequence = 0;
    TimePoint at;
  };

  asio::awaitable<Result<>> greet();
  [[nodiscard]] Result<> check_name() const;
  void say_refused(const Error& error);
  void audit_refusal(const std::string& why) const;
  [[nodiscard]] const char* why_let_in() const;
  [[nodiscard]] Result<ListenerHello> understand(Result<std::optional<Message>> message) const;
  [[nodiscard]] Reading reading(std::size_t limit, std::chrono::milliseconds silence);
  [[nodiscard]] Result<> welcome(ListenerHello hello);
  asio::awaitable<void> read_all();
  asio::awaitable<void> write_all();
  asio::awaitable<void> refuse();
  asio::awaitable<void> part();
  [[nodiscard]] Line next_line();
  [[nodiscard]] Line next_state();
  void check_certificate();

  void handle(Feed feed);
  void handle(const Ack& ack);
  void handle(const Resync& resync);
  void handle(Counts counts);
  void handle(OrderReport report);
  void handle(const Orders& orders);
  void handle(const Goodbye& bye);
  void handle(const Ping&) {}
  template <class Other>
  void handle(const Other&) {  // what only updaters say, and a second hello
    say_goodbye("a listener must not send this kind of message");
  }

  std::shared_ptr<Hub> hub_;
  const Hub::Id id_;
  const std::string host_;
  asio::ip::tcp::socket socket_;  // until the handshake
  int shaking_ = -1;              // the socket during the handshake
  std::shared_ptr<asio::ssl::context> tls_;
  std::unique_ptr<Connection> connection_;
  Event wake_;
  bool greeted_ = false;
  bool over_ = false;  // the reader has ended
  std::optional<std::string> goodbye_;

  ListenerView view_;
  std::optional<std::uint64_t> have_;  // of our epoch: what it has when all that was sent arrives
  bool wants_state_ = false;
  std::uint64_t orders_told_ = 0;
  std::deque<Sent> sent_;  // not acknowledged
  bool pinged_ = false;
  TimePoint next_ping_;
  TimePoint next_snapshot_;
};

}  // namespace lb::relay
