// A listener's copy of an updater's services. Pure.
#pragma once

#include <string>
#include <vector>

#include "relay/message.h"

namespace lb::relay {

[[nodiscard]] ServiceRef ref_of(const Service& service);
// How services are sorted in messages and replicas.
[[nodiscard]] bool before(const ServicePtr& a, const ServicePtr& b);

// Does `delta` follow the state at `have`? If not, ask for a snapshot (Resync).
[[nodiscard]] bool follows(const Delta& delta, const std::optional<Position>& have);

// Applies to the services of the state at delta.base, as SnapshotMessage or apply() left them.
// Services that the delta does not name keep their pointers. An error (it names the service): this is
// not the state that the delta was made for; `services` is unchanged, resync. (Call it with its
// namespace: std::apply() takes anything.)
[[nodiscard]] Result<> apply(const Delta& delta, std::vector<ServicePtr>& services);

// What of it can be in force on this host, sorted by key, no key twice: of two services with one key
// the one that names its address. The replica itself must keep both: the next delta may take away
// either. `warnings` gets a line for each that is left out.
[[nodiscard]] std::vector<ServicePtr> visible(const std::vector<ServicePtr>& services,
                                              std::vector<std::string>& warnings);

}  // namespace lb::relay
