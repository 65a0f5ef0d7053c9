// The command line of lbd.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "daemon/config.h"

namespace lb {

// Exit codes: docs/OPERATIONS.md.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

constexpr const char* kDefaultConfig = "/etc/lbd/lbd.toml";

// Makes starting impossible; what() is one line, `hint` says what to do about it (may be empty).
class StartError : public std::runtime_error {
 public:
  explicit StartError(const Error& error);
  StartError(const std::string& what, std::string hint)
      : std::runtime_error(what), hint_(std::move(hint)) {}
  [[nodiscard]] const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

// What flags say; unset ones leave the file's word in force.
struct Overrides {
  std::optional<std::string> runtime_dir, state_dir, cgroup, bpffs, dataplane, log_level;
};

// Lays the flags over the configuration. The error names the flag.
[[nodiscard]] Result<Config> with_overrides(Config config, const Overrides& overrides);

// What to do about an error that keeps us from starting; empty when its sentence says it already.
[[nodiscard]] std::string hint_for(const Error& error, std::uint64_t capabilities);

// Parses the arguments and runs the command; returns the exit code. Throws StartError.
int run_command(int argc, const char* const* argv);

}  // namespace lb
