// Whose drains of the fleet a running lbd takes.
#pragma once

#include "tools/lbctl/env.h"
#include "tools/lbctl/options.h"

namespace lb::lbctl {

// Without a subject: the keys; else what is trusted, or with --forget no more, from now on.
int trust(Env& env, const Options& options);

}  // namespace lb::lbctl
