// Which backends of a service get new connections: the table of docs/OPERATIONS.md, and nowhere else.
#pragma once

#include <string>
#include <vector>

#include "model/desired.h"

namespace lb {

enum class Eligibility : std::uint8_t {
  Normal,      // gets new connections
  LastResort,  // only when no Normal one is left: draining by its source, lost from its sight, or
               // failed together with all others
  FailOpen,  // only when neither is left: then all such are used, the prober is the likelier fault
  Never,
};

[[nodiscard]] Eligibility eligibility(BackendState state, Reason reason, std::uint32_t weight);
// Also knows of departures: one that its source called unusable before it left is no last resort.
[[nodiscard]] Eligibility eligibility(const DesiredBackend& backend);

struct Assignment {
  Condition condition = Condition::Ok;  // Ok, FailOpen, LastResort or NoBackends
  std::string text;                     // empty when Ok
};

// Sets effective_weight of each and says how the service fares.
[[nodiscard]] Assignment assign_weights(std::vector<DesiredBackend>& backends);

}  // namespace lb
