// Who we are, added to each request. Secrets are read from their files for each use and are part of no
// error and no log line.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "http/client.h"
#include "marathon/access.h"

namespace lb::marathon {

namespace asio = boost::asio;

class Auth {
 public:
  Auth(HttpClient& http, const Access& access);

  // Adds what `access` asks for. With a DC/OS login: logs in when there is no token, or when the one
  // there is has lived three quarters of its life.
  asio::awaitable<Result<HttpRequest>> authorize(HttpRequest request);

  // To be called when Marathon answered 401 to that request: true when another token is worth a try.
  [[nodiscard]] bool refused(const HttpRequest& request);

  // What an operator can look at after a 401.
  [[nodiscard]] std::string hint() const;

 private:
  struct State;
  asio::awaitable<Result<std::string>> dcos_token();
  asio::awaitable<Result<std::string>> login();

  HttpClient& http_;
  const Access& access_;
  std::shared_ptr<State> state_;
};

}  // namespace lb::marathon
