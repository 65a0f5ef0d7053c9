// The one way from foreign bytes to a JSON tree: answers of etcd and Marathon, lines of other lbds, requests of the API, saved files.
// A tree costs many times its text (2.1 GB of 60 MB of "{},"), and code that walks it is as deep as it is: both are bounded before any
// of it is built. `tools/check/json` finds what calls the library's own parse() elsewhere.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "base/text.h"

namespace lb {

struct JsonLimits {
  std::size_t depth = 128;                     // of brackets within brackets
  std::size_t memory = std::size_t{96} << 20;  // bytes of the tree while it is built
  // Bytes of one string, of which the parser takes up to six times as much for a moment. etcd's largest value is 1.5 MiB.
  std::size_t text = std::size_t{12} << 20;
};

// EBADMSG: brackets deeper than `limits.depth`; EMSGSIZE: a tree larger than `limits.memory`, or a string longer than `limits.text`. Takes no memory of its own, and says
// nothing of grammar: what is no JSON passes, as the parser refuses it in the end, and builds no more than what was counted until then.
// `member`: bytes that a member of an object takes beside its value's text.
[[nodiscard]] Result<> check_json(std::string_view text, const JsonLimits& limits,
                                  std::size_t member = 96);

// Every string in `json`.
template <class Json>
void make_printable(Json& json) {
  if (json.is_string()) {
    auto& text = json.template get_ref<std::string&>();
    const auto plain = [](char c) { return c >= ' ' && c < 0x7f; };
    if (!std::all_of(text.begin(), text.end(), plain)) text = printable_text(text);
  } else if (json.is_structured()) {
    for (Json& item : json) make_printable(item);
  }
}

// What the parser says of a text that is no JSON, printable and short.
[[nodiscard]] Error no_json(const nlohmann::json::exception& error);

// Errors as above; EBADMSG for what is no JSON.
template <class Json = nlohmann::json>
[[nodiscard]] Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {}) {
  // An ordered object is a vector of pairs, which doubles.
  constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;
  LB_CHECK(check_json(text, limits, kOrdered ? 144 : 96));
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    return tl::unexpected(no_json(error));
  }
}

// As text, with every string in it printable; what sources and servers wrote goes out only so.
template <class Json>
[[nodiscard]] std::string dump_printable(Json json) {
  make_printable(json);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Hands a text to a SAX handler of nlohmann's interface, with the depth bounded. False, or a handler that says so: it was stopped.
template <class Handler>
[[nodiscard]] Result<bool> scan_json(std::string_view text, Handler& handler, std::size_t depth) {
  LB_CHECK(check_json(text, {.depth = depth, .memory = static_cast<std::size_t>(-1)}));
  return nlohmann::json::sax_parse(text, &handler);
}

}  // namespace lb
