// One parsed command line.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "tools/lbctl/env.h"
#include "tools/lbctl/register_options.h"

namespace lb::lbctl {

struct Options {
  std::string socket;
  bool json = false;
  std::string command;  // "list", ...
  std::string subject;  // FILTER, ADDR:PORT, TARGET, SOURCE, UPDATER or KEY
  std::string service;
  std::string reason;  // of what changes something, for lbd's audit
  bool wait = false;
  bool terminate = false;
  bool fleet = false;   // at an updater: on all listeners
  bool forget = false;  // trust: no more
  std::optional<std::chrono::milliseconds> timeout;
  RegisterOptions registration;  // of "register"
};

// The error is the exit code; help, version and complaints are written already.
[[nodiscard]] tl::expected<Options, int> parse_options(Env& env, std::span<const std::string> args);

}  // namespace lb::lbctl
