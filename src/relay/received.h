// What a listener makes of an updater's services: those of this host. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/message.h"

namespace lb::relay {

// Both sorted by ServiceRef. Services of `next` that equal one of `before` become that
// one, so that comparing the two compares pointers.
[[nodiscard]] std::vector<ServicePtr> share(const std::vector<ServicePtr>& before,
                                            std::vector<ServicePtr> next);

// Sorted by key, shared with `before`. A loopback address means another host at each listener: such
// backends are left out, with a line in `warnings` for each service that has some.
[[nodiscard]] std::vector<ServicePtr> usable(const std::vector<ServicePtr>& services,
                                             const std::vector<ServicePtr>& before,
                                             std::vector<std::string>& warnings);

// The revision of a relay's snapshot: position, and the age of each source, which a later run compares.
struct Revision {
  Position at;
  std::vector<SourceMark> sources;  // name and as_of alone
};
[[nodiscard]] std::string format_revision(const Position& at,
                                          const std::vector<SourceMark>& sources);
// nullopt: of another kind, or none.
[[nodiscard]] std::optional<Revision> parse_revision(std::string_view text);

}  // namespace lb::relay
