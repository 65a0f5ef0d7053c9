// What an updater knows of its listeners: `lbctl listeners`, and drains on all of them.
#pragma once

#include "tools/lbctl/client.h"

namespace lb::lbctl {

// Those whose name or address contains the filter.
[[nodiscard]] Json filter_listeners(Json json, const std::string& filter);
// With a filter their connections per backend, too.
void show_listeners(Env& env, const Options& options, const Json& json);

// The exit code. Without --wait: returns when every connected listener has programmed it.
[[nodiscard]] int drain_fleet(Env& env, const Options& options);
[[nodiscard]] int undrain_fleet(Env& env, const Options& options);

}  // namespace lb::lbctl
