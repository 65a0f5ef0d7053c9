// `lbd logger`: follows updaters and writes each change as one line of JSON. Keeps nothing on disk.
#pragma once

#include <ostream>

#include "daemon/config.h"

namespace lb {

// Runs until SIGTERM or SIGINT; returns the exit code. `full`: whole states instead of changes.
[[nodiscard]] int run_logger(RelaySourceConfig config, bool full, std::ostream& out);

}  // namespace lb
