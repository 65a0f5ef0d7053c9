// The engine's values as api/control.h shows them. Pure.
#pragma once

#include <optional>
#include <vector>

#include "api/control.h"
#include "daemon/engine.h"
#include "dataplane/dataplane.h"
#include "reconcile/listeners.h"
#include "state/drains.h"

namespace lb {

// Counts of the service's backends in their order; zeroes for what the kernel does not know.
[[nodiscard]] std::vector<BackendCounts> counts_of(const DesiredService& service,
                                                   const ObservedService* observed);
// The service with what the dataplane cannot use, or passes over now, taken out of use, and with the condition that only the
// dataplane can tell; the same pointer where it does all that is wanted.
[[nodiscard]] DesiredServicePtr as_seen(const DesiredServicePtr& service,
                                        const ObservedService* observed, SysTime now);
[[nodiscard]] DataplaneView to_view(const DataplaneInfo& info);
[[nodiscard]] DrainOrder to_view(const Drain& drain);
[[nodiscard]] SourceView to_view(const SourceSlot& slot, const std::vector<Claim>& losers,
                                 SteadyTime now, SysTime wall);
// One of an earlier configuration that is still in force: state "former", and a warning that says until when.
[[nodiscard]] SourceView to_former_view(const SourceSlot& slot, const FormerSources& former,
                                        const std::vector<Claim>& losers);
[[nodiscard]] std::optional<HeldBack> held_view(const SourceSlot& slot, SteadyTime now,
                                                SysTime wall);

// What a connect through this service would meet. `listeners`: null when they could not be read.
[[nodiscard]] std::vector<ExplainedBackend> explain_backends(
    const DesiredService& service, const std::vector<BackendCounts>& counts,
    const std::vector<Listener>* listeners);

}  // namespace lb
