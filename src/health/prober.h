// One look at one backend: a connect, or a request. What the answers mean over time is the dampener's.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "http/client.h"
#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

class Prober {
 public:
  explicit Prober(asio::io_context& io);

  // Each time by a connection of its own, which lbd's hooks leave alone (base/direct_socket.h) and
  // which no count shows. An error is one sentence: "connect: Connection refused". The probe goes to
  // `address`, whatever check.port says, and has ended at check.timeout.
  asio::awaitable<Result<>> probe(Address address, HealthCheck check);

 private:
  asio::awaitable<Result<>> probe_tcp(Address address, HealthCheck check);
  asio::awaitable<Result<>> probe_http(Address address, HealthCheck check);

  asio::io_context& io_;
  std::deque<HttpClient> http_;  // used in turn
  std::size_t next_ = 0;
};

// Of this backend whatever the path is: ECANCELED for what is no path.
[[nodiscard]] Result<std::string> probe_url(const Address& address, std::string_view path);

// A probe that failed for want of something on this host says nothing of the backend.
[[nodiscard]] bool tells_of_backend(const Error& error);

}  // namespace lb
