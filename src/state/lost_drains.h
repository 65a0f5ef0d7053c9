// The operator's drains when drains.json is lost: the dataplane has noted which backends are drained.
// Pure.
#pragma once

#include <vector>

#include "model/programmed.h"
#include "state/claims.h"
#include "state/drains.h"

namespace lb {

// What `observed` has as drained and `known` does not cover. `guess`: there was a file, so that a backend
// of which an older lbd noted no reason and that gets nothing may have been in it. One order for an
// address that is drained in all its services, else one for each of them.
[[nodiscard]] std::vector<Drain> lost_drains(const Observed& observed, const View& view,
                                             const Drains& known, bool guess, SysTime now);

}  // namespace lb
