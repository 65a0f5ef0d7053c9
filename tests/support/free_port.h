// A port of 127.0.0.1 for a server that is started, stopped and started again.
#pragma once

#include <random>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace lb::test {

// Below the range from which the kernel gives ports to clients: one of those would sit on it by chance
// when the server comes back.
inline std::string free_url() {
  namespace ip = boost::asio::ip;
  std::random_device random;
  std::uniform_int_distribution<unsigned> ports(20'000, 32'000);
  boost::asio::io_context io;
  for (int i = 0; i < 1000; ++i) {
    const auto port = static_cast<unsigned short>(ports(random));
    ip::tcp::acceptor acceptor(io, ip::tcp::v4());
    boost::system::error_code taken;
    acceptor.bind({ip::address_v4::loopback(), port}, taken);
    if (!taken) return fmt::format("http://127.0.0.1:{}", port);
  }
  throw std::runtime_error("no free port on 127.0.0.1");
}

}  // namespace lb::test
