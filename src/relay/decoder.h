// Decodes beside the loop what would keep it from everything else: a whole state takes a second. One long
// line at a time, so that not all of them are trees in memory at once; those that lbd sends in pieces do
// not wait for them.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/event.h"
#include "relay/message.h"

namespace lb::relay {

class Decoder {
 public:
  explicit Decoder(asio::io_context& io) : io_(io) {}

  // As decode(). Outlives the coroutine.
  asio::awaitable<Result<std::optional<Message>>> decode(std::string line, IpAddress publish,
                                                         From from);

 private:
  // One behind the other.
  struct Lane {
    bool busy = false;
    std::deque<std::shared_ptr<Event>> waiting;
  };

  asio::io_context& io_;
  Lane pieces_, long_ones_;
};

}  // namespace lb::relay
