// Where the host of a URL is. curl would ask libc, whose sockets to DNS servers lbd's own hooks would steer. Private to http/.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>

#include "base/result.h"

namespace lb {

namespace asio = boost::asio;

class HostLookup {
 public:
  explicit HostLookup(asio::io_context& io) : io_(io) {}

  // What curl is to believe of `url`'s host, as CURLOPT_RESOLVE has it; "" where it is an address, or nothing that could be looked
  // up: curl says what is wrong then. An answer holds for a minute, and for as long as there is no newer one.
  static asio::awaitable<Result<std::string>> find(std::shared_ptr<HostLookup> self,
                                                   std::string url,
                                                   std::chrono::milliseconds within);

 private:
  using Addresses = std::vector<asio::ip::address>;
  struct Known {
    Addresses addresses;
    std::chrono::steady_clock::time_point ask_again;
  };
  static asio::awaitable<Result<Addresses>> ask(std::shared_ptr<HostLookup> self, std::string name,
                                                std::chrono::milliseconds within);

  asio::io_context& io_;
  std::map<std::string, Known> known_;
};

}  // namespace lb
