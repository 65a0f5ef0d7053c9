// The one JSON schema that lbctl, GET /v1 and other machines read: docs/API.md describes it, and
// tests/unit/api holds it to golden files. Fields are added, never renamed or removed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "api/control.h"

namespace lb {

// Keeps the order of the fields, so that people find a service's name before its backends.
using Json = nlohmann::ordered_json;

[[nodiscard]] Json service_json(const ServiceView& view);
[[nodiscard]] Json status_json(const Status& status);
[[nodiscard]] Json sources_json(std::span<const SourceView> sources);
[[nodiscard]] Json explanation_json(const Explanation& explanation);
[[nodiscard]] Json drained_json(std::span<const DrainedBackend> backends);
[[nodiscard]] Json listeners_json(std::span<const relay::ListenerView> listeners);
[[nodiscard]] Json order_keys_json(std::span<const OrderKeys::View> keys);
[[nodiscard]] Json fleet_json(const relay::FleetProgress& progress);
[[nodiscard]] Json accepted_json(const Accepted& accepted);
// `near` is left out when empty: names that the caller may have meant.
[[nodiscard]] Json error_json(std::string_view message, std::span<const std::string> near = {});

// Compact, and always valid UTF-8: what a source delivers as a name may be any bytes.
[[nodiscard]] std::string dump(Json json);

[[nodiscard]] std::string_view to_string(Outcome outcome);  // "direct", "balanced", "refused"

}  // namespace lb
