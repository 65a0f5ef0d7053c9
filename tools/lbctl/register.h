// `lbctl register`: the shell around Session. Signals, the command, timers, etcd, sockets.
#pragma once

#include "tools/lbctl/env.h"
#include "tools/lbctl/register_options.h"

namespace lb::lbctl {

// Returns when the registration has ended: COMMAND's exit code.
[[nodiscard]] int register_backend(Env& env, const RegisterOptions& options, bool json);

}  // namespace lb::lbctl
