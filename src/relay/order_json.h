// Orders as JSON, in messages and in the file of FleetOrders.
#pragma once

#include <cstddef>

#include <nlohmann/json_fwd.hpp>

#include "relay/fleet.h"

namespace lb {

[[nodiscard]] nlohmann::json to_json(const FleetOrder& order);
[[nodiscard]] std::size_t text_size(const FleetOrder& order);  // bytes in a message
// Throws nlohmann's exceptions. ids come out sorted, without doubles. E2BIG: over the limits, and no
// reason to refuse what is beside it.
[[nodiscard]] Result<FleetOrder> order_from_json(const nlohmann::json& json);

}  // namespace lb
