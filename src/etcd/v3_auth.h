// The token of etcd's authentication, one for all endpoints: a cluster's members know each other's.
// Neither it nor the password is ever part of an error or a log line.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "etcd/access.h"
#include "http/client.h"

namespace lb::etcd {

namespace asio = boost::asio;

class V3Auth {
 public:
  V3Auth(HttpClient& http, const Access& access);

  // What goes into `Authorization`: "" when no user is configured, or when etcd has no authentication.
  // Asks `endpoint`, whose gateway is at `path`, if there is no token yet; several callers at once ask
  // once, and a refusal is for all of them.
  asio::awaitable<Result<std::string>> token(std::string endpoint, std::string path);
  // To be called when etcd refused `token`. Another caller may have a new one already: that is kept.
  // False when there is no user, and so nothing to try again with.
  [[nodiscard]] bool refused(const std::string& token);

 private:
  struct Flight;
  struct State;
  asio::awaitable<Result<std::string>> authenticate(std::string endpoint, std::string path);

  HttpClient& http_;
  const Access& access_;
  std::shared_ptr<State> state_;  // shared with callers whose coroutines end after us
};

}  // namespace lb::etcd
