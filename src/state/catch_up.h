// A saved snapshot may be older than the kernel: lbd applies first and saves then, and a disk may hang for
// hours. What a restart finds in force stays in force until the source has delivered. Pure.
#pragma once

#include <optional>

#include "health/verdict.h"
#include "model/programmed.h"
#include "model/service.h"
#include "state/departures.h"
#include "state/drains.h"

namespace lb {

// What explains that a backend gets no connections. May be newer than the snapshot, too.
struct KnownReasons {
  const Drains& drains;
  const Departures& departures;
  const HealthVerdicts& down;
};

// `saved`, with its services as `observed` has them: a backend that the kernel uses and the snapshot lacks
// is in it, by the name ADDR:PORT; one that the kernel does not use, and for no reason that is known, has
// weight 0. Where the kernel uses others alone, another origin has it. A service that the kernel does not have stays as saved. nullopt: nothing differs.
[[nodiscard]] std::optional<Snapshot> catch_up(const Snapshot& saved, const Observed& observed,
                                               const KnownReasons& why);

// The verdicts on what is down, without those that are older than the kernel: it uses such a backend, and not another
// of the service that is down as well.
[[nodiscard]] HealthVerdicts not_contradicted(const HealthVerdicts& down, const Observed& observed);

}  // namespace lb
