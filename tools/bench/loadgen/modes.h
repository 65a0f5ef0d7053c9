// The three client modes and the server. Each owns its sockets for one run and keeps nothing after.
#pragma once

#include <cstddef>
#include <functional>

#include "options.h"
#include "result.h"

namespace lb::bench {

constexpr std::size_t kMessageSize = 64;
constexpr std::size_t kBulkChunk = 64 * 1024;

// Called when set-up is done and the measured part begins.
using Gate = std::function<void()>;

Result run_connect(const Options& options, const Gate& gate);
Result run_pingpong(const Options& options, const Gate& gate);
Result run_bulk(const Options& options, const Gate& gate);

// Returns only by exception; the process ends by signal.
[[noreturn]] void run_server(const Options& options);

}  // namespace lb::bench
