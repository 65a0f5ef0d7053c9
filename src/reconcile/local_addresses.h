// The host's IP addresses, as they come and go: services on 0.0.0.0 and :: follow them. Level
// triggered: a notification says only "look again", so that a lost one cannot corrupt anything.
#pragma once

#include <functional>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "model/address.h"

namespace lb {

namespace asio = boost::asio;

// One dump by rtnetlink, sorted, each address once.
[[nodiscard]] Result<std::vector<IpAddress>> read_local_addresses();

class LocalAddresses {
 public:
  // Subscribes before anything is read, so that no change can fall between reading and watching.
  [[nodiscard]] static Result<LocalAddresses> open(asio::any_io_executor executor);

  // Calls back with the addresses now and after each change; ends only by cancellation or error.
  asio::awaitable<Result<>> watch(std::function<void(std::vector<IpAddress>)> changed);

 private:
  explicit LocalAddresses(asio::posix::stream_descriptor socket) : socket_(std::move(socket)) {}

  asio::posix::stream_descriptor socket_;
};

}  // namespace lb
