// Orders as JSON, in messages and in the file of FleetOrders.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "relay/fleet.h"

namespace lb {

[[nodiscard]] nlohmann::json to_json(const FleetOrder& order);
// Throws nlohmann's exceptions. ids come out sorted, without doubles.
[[nodiscard]] Result<FleetOrder> order_from_json(const nlohmann::json& json);

}  // namespace lb
