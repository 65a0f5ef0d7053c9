// How far each prefix was followed, as the revision of a Snapshot: "PREFIX=v3/CLUSTER:REVISION" with
// blanks between. A later run tells by it whether the same cluster answers, and not an older state.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "etcd/types.h"

namespace lb {

struct EtcdPosition {
  etcd::ApiVersion api = etcd::ApiVersion::V3;  // v2 and v3 count on their own
  etcd::Header header;                          // zeros: nothing is known

  bool operator==(const EtcdPosition&) const = default;
};

using EtcdPositions = std::map<std::string, EtcdPosition>;  // by prefix

[[nodiscard]] std::string format_positions(const EtcdPositions& positions);
// What cannot be read is left out: nothing is known of it.
[[nodiscard]] EtcdPositions parse_positions(std::string_view text);
[[nodiscard]] std::optional<EtcdPosition> position_of(const EtcdPositions& positions,
                                                      const std::string& prefix);

}  // namespace lb
