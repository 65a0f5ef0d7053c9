// All that lbctl touches outside itself, so that a test can be its whole world.
#pragma once

#include <chrono>
#include <functional>
#include <ostream>
#include <span>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "tools/lbctl/host.h"

namespace lb::lbctl {

// docs/OPERATIONS.md lists them for users.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitUnreachable = 3;
constexpr int kExitTimedOut = 4;
constexpr int kExitNotAllowed = 5;

struct HttpCall {
  std::string method;
  std::string target;  // "/v1/status"
  std::string body;
};

struct HttpAnswer {
  long status = 0;
  std::string body;
};

struct Env {
  Env(std::ostream& data, std::ostream& words) : out(data), err(words) {}

  std::ostream& out;  // data
  std::ostream& err;  // words
  bool out_is_tty = false;
  bool err_is_tty = false;
  bool no_color = false;
  std::size_t columns = 80;  // of the terminal; bounds the line that is redrawn
  std::string default_socket = "/run/lbd/lbd.sock";
  std::function<SysTime()> wall;
  std::function<std::chrono::steady_clock::time_point()> steady;
  std::function<void(std::chrono::milliseconds)> sleep;
  // An error means that nobody answered; its code is the system's.
  std::function<Result<HttpAnswer>(const std::string& socket, const HttpCall&)> fetch;
  std::function<HostFacts()> look_at_host;
};

// The real world: standard streams, clock, curl, this host. Defined in system.cpp.
[[nodiscard]] Env system_env();

// Runs one command line (without the program's name) and returns the exit code.
[[nodiscard]] int run(Env& env, std::span<const std::string> args);

}  // namespace lb::lbctl
