// An updater that does what a real one never would. It runs in the test's loop; what listeners say is
// kept as messages.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "relay/message.h"

namespace lb::test {

class FakeUpdater {
 public:
  // `greeting` is sent to whoever connects, as it is.
  FakeUpdater(boost::asio::io_context& io, std::string greeting);
  ~FakeUpdater();
  FakeUpdater(const FakeUpdater&) = delete;
  FakeUpdater& operator=(const FakeUpdater&) = delete;

  [[nodiscard]] HostPort at() const;
  void greet_with(std::string greeting);
  // `answer` to each message that is a Feed with wants_state.
  void when_asked(std::function<std::string(const relay::Feed&)> answer);
  void say(const std::string& bytes);  // to all who are connected
  void cut();                          // all connections

  [[nodiscard]] int accepted() const;  // so far
  [[nodiscard]] std::size_t connected() const;
  [[nodiscard]] const std::vector<relay::Message>& heard() const;
  template <class T>
  [[nodiscard]] int count() const {
    int out = 0;
    for (const relay::Message& message : heard()) out += std::holds_alternative<T>(message) ? 1 : 0;
    return out;
  }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

std::string hello_of(const std::string& epoch, std::uint64_t sequence = 1);

}  // namespace lb::test
