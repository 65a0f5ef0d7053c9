// The audit of orders that another lbd has told of.
#pragma once

#include <string>

#include "relay/fleet.h"

namespace lb {

// One line for each that is in force now. `by`: who told of it, "updater=10.0.0.1:7676".
void audit_news(const FleetOrders::Heard& heard, const std::string& by);

}  // namespace lb
