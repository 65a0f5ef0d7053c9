// A backend's address as this machine sees it: its addresses by name, whether something accepts there,
// and how many connections it has here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "model/address.h"
#include "tools/lbctl/register_session.h"

namespace lb::lbctl {

class Acceptor {
 public:
  Acceptor(asio::io_context& io, HostPort address) : io_(io), address_(std::move(address)) {}

  // By a connect, to each of its addresses until one accepts.
  asio::awaitable<Result<>> accepts();
  // Whether any of its addresses is this machine's. Looks the name up.
  asio::awaitable<Result<bool>> local();
  // By this machine's sockets. `must_listen`: without a listener of this machine its sockets tell
  // nothing (a port that is forwarded into a container).
  asio::awaitable<Result<Left>> left(bool must_listen);

 private:
  // When a name server fails, what it last said.
  asio::awaitable<Result<std::vector<Address>>> addresses();
  asio::awaitable<Result<std::vector<Address>>> look_up();
  asio::awaitable<Result<>> connect(Address to);
  [[nodiscard]] std::string text() const;

  asio::io_context& io_;
  HostPort address_;
  std::vector<Address> known_;
};

}  // namespace lb::lbctl
