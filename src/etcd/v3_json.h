// What the answers and the watch messages of etcd's JSON have in common. Private to the v3 codecs; its
// readers throw nlohmann's exceptions, read_json() is the fence.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd {

using nlohmann::json;

[[nodiscard]] std::int64_t json_int(const json& object, const char* name);  // missing: 0
[[nodiscard]] bool json_flag(const json& object, const char* name);
[[nodiscard]] std::string json_text(const json& object, const char* name);  // printable; "": none
[[nodiscard]] Header json_header(const json& message);
[[nodiscard]] KeyValue json_kv(const json& kv);
// "error" is a text in answers, an object in streams, and gone from 3.6 on.
[[nodiscard]] std::string json_error(const json& body);

// EBADMSG for what is no JSON object: `why` is the reason.
[[nodiscard]] Error no_etcd(std::string_view body, std::string_view why);

template <class Read>
auto read_json(std::string_view body, Read read) -> decltype(read(json())) {
  const Result<json> root = parse_json(body);
  if (!root) {
    Error error = no_etcd(body, root.error().context);
    error.code = root.error().code;
    return tl::unexpected(std::move(error));
  }
  if (!root->is_object()) return tl::unexpected(no_etcd(body, "not an object"));
  try {
    return read(*root);
  } catch (const json::exception& e) {
    return tl::unexpected(no_etcd(body, e.what()));
  }
}

}  // namespace lb::etcd
