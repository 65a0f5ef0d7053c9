// What a source says, without the backends that it may not have.
#pragma once

#include "model/backend_ranges.h"
#include "model/service.h"

namespace lb {

// Each service that loses backends has one line in `warnings`. What loses none is shared.
[[nodiscard]] Snapshot allowed_backends(Snapshot snapshot, const BackendRanges& allowed);

}  // namespace lb
