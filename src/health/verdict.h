// What lbd itself found out about a backend.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/time.h"
#include "model/service.h"

namespace lb {

struct HealthVerdict {
  bool up = true;
  SysTime since;
  std::string error;  // of the last probe, while it is down: "connect: Connection refused"

  bool operator==(const HealthVerdict&) const = default;
};
// By service and backend; a backend that was never looked at to the end is absent.
using HealthVerdicts = std::map<std::pair<ServiceKey, Address>, HealthVerdict>;

}  // namespace lb
