// The eBPF dataplane with somebody beside it for the clients that come from other hosts, whose connects no hook
// sees: IPVS where the kernel has it, else lbd's own nft table. Nothing of that exists before a service is published.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "dataplane/dataplane.h"

namespace lb {

// Opens what serves outside clients. Called at the first published service, and again with back-off while it fails.
using OpenOutside = std::function<Result<std::unique_ptr<Dataplane>>()>;

// `left_over`: an lbd before this one left something there, so it is opened at once. Of the loopback
// services in it each goes when `inside` serves it, or after a minute: the dataplane was changed.
[[nodiscard]] Result<std::unique_ptr<Dataplane>> make_publishing_dataplane(
    std::unique_ptr<Dataplane> inside, OpenOutside open_outside, bool left_over,
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now);

}  // namespace lb
