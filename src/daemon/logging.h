// How log lines look and where they go.
#pragma once

#include "daemon/config.h"

namespace lb {

// To stderr: the service manager keeps it. May be called again, after a reload.
void setup_logging(const DaemonConfig& config);

}  // namespace lb
