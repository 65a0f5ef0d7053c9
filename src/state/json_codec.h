// Snapshots as JSON, for files on disk and for other lbds. The only place that catches nlohmann's
// exceptions: a file that somebody broke is an error with a sentence, never a crash.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "model/service.h"

namespace lb {

// {"version": 1, "absence": ..., "revision": ..., "as_of": ..., "services": [...]}. Bytes that are
// no UTF-8 are replaced, so that junk in a source cannot keep us from saving the rest.
[[nodiscard]] std::string encode_snapshot(const Snapshot& snapshot);
// Refuses another version, unknown enumerators, unsorted or duplicate services and backends.
[[nodiscard]] Result<Snapshot> decode_snapshot(std::string_view text);

[[nodiscard]] nlohmann::json to_json(const Backend& backend);
[[nodiscard]] nlohmann::json to_json(const Service& service);
[[nodiscard]] nlohmann::json to_json(const HealthCheck& check);
// These throw nlohmann's exceptions: call them inside decode_json().
[[nodiscard]] Result<Backend> backend_from_json(const nlohmann::json& json);
[[nodiscard]] Result<Service> service_from_json(const nlohmann::json& json);
[[nodiscard]] Result<HealthCheck> check_from_json(const nlohmann::json& json);

// Parses one of our own files, checks that it is an object of this version, and hands it to `read`;
// whatever JSON exception that throws becomes an error.
[[nodiscard]] Result<> decode_json(std::string_view text, int version,
                                   const std::function<Result<>(const nlohmann::json&)>& read);
// Dumps with the same treatment of bytes that are no UTF-8.
[[nodiscard]] std::string encode_json(const nlohmann::json& json);

}  // namespace lb
