// Of backends with a uid: whether their users hold their ports (reconcile/owners.h finds out).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "model/service.h"

namespace lb {

// Why a backend gets nothing, a sentence; empty: its user holds its port. By service and backend.
// Absent: who holds it is not known.
using OwnerVerdicts = std::map<std::pair<ServiceKey, Address>, std::string>;

}  // namespace lb
