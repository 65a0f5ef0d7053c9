// The host's IP addresses, as they come and go: services on 0.0.0.0 and :: follow them. Level
// triggered: a notification says only "look again", so that a lost one cannot corrupt anything.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "base/backoff.h"
#include "base/result.h"
#include "model/address.h"

namespace lb {

namespace asio = boost::asio;

// One dump by rtnetlink, sorted, each address once.
[[nodiscard]] Result<std::vector<IpAddress>> read_local_addresses();
// The payload of an RTM_NEWADDR: nullopt for what has no IP address.
[[nodiscard]] std::optional<IpAddress> parse_address(std::span<const std::byte> payload);

class LocalAddresses {
 public:
  explicit LocalAddresses(asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Calls back with the addresses now and after each change. What fails is tried again with back-off, from the start, so that
  // nothing is missed meanwhile; ends only by cancellation.
  asio::awaitable<void> follow(std::function<void(std::vector<IpAddress>)> changed);
  // Why they cannot be followed now; empty: they are.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  using Changed = std::function<void(std::vector<IpAddress>)>;
  asio::awaitable<Result<>> watch(const Changed& changed);

  asio::any_io_executor executor_;
  Backoff backoff_;
  std::string problem_;
};

}  // namespace lb
