// The command line as values. Parsing throws std::invalid_argument with a sentence for the user.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net.h"

namespace lb::bench {

enum class Mode { Help, Serve, Connect, PingPong, Bulk };
enum class ServerKind { Reply, Echo, Sink, Source };

struct Options {
  Mode mode = Mode::Help;
  std::vector<Address> listen;
  ServerKind kind = ServerKind::Reply;
  std::vector<Address> targets;  // used in turn: connection n goes to target n mod size
  std::uint64_t count = 2000;
  std::uint32_t concurrency = 1;
  std::uint64_t bytes = 0;  // bulk: of all connections together; 0 = until `duration`
  std::chrono::milliseconds duration{0};
  std::chrono::milliseconds timeout{5000};
  bool down = false;
  bool gate = false;
  std::optional<int> cpu;
};

Options parse_options(std::span<const std::string> args);
std::string usage();

}  // namespace lb::bench
