// One call to lbd, and what goes wrong with it in words and an exit code.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tools/lbctl/options.h"

namespace lb::lbctl {

using Json = nlohmann::ordered_json;

// Everything but letters, digits and "-._~" as %XX.
[[nodiscard]] std::string percent_encode(std::string_view text);

// The error is the exit code; the words are on env.err already.
[[nodiscard]] tl::expected<Json, int> call(Env& env, const Options& options, const HttpCall& http);

// Like call(), but says nothing and returns kExitUnreachable when nobody answers: for waiting.
[[nodiscard]] tl::expected<Json, int> call_quietly(Env& env, const Options& options,
                                                   const HttpCall& http);

}  // namespace lb::lbctl
