// How log lines look and where they go.
#pragma once

#include <cstdint>

#include "daemon/config.h"

namespace lb {

// To stderr: the service manager keeps it. May be called again, after a reload. A thread writes the
// lines: a reader that stops or dies costs lines, and no time (log_queue.h).
void setup_logging(const DaemonConfig& config);

// Waits a moment for what is not written yet; false when the reader takes nothing.
bool flush_log();

// Lines that were lost since the start.
[[nodiscard]] std::uint64_t dropped_log_lines();

// Before main() prints or ends.
struct LogFlushed {
  LogFlushed() = default;
  ~LogFlushed() { (void)flush_log(); }
  LogFlushed(const LogFlushed&) = delete;
  LogFlushed& operator=(const LogFlushed&) = delete;
};

}  // namespace lb
