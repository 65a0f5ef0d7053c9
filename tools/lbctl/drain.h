// The writing commands.
#pragma once

#include "tools/lbctl/client.h"

namespace lb::lbctl {

[[nodiscard]] int drain(Env& env, const Options& options);
[[nodiscard]] int undrain(Env& env, const Options& options);
[[nodiscard]] int resync(Env& env, const Options& options);

}  // namespace lb::lbctl
