// The DC/OS login as bytes: what is sent, and what comes back. Pure but for the clock's value that is
// handed in.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb::marathon {

using WallTime = std::chrono::system_clock::time_point;

// The body of the login request: who we are, proven by a token that we sign and that ends within a
// minute. `key` is PEM, RSA. Errors never contain any of it.
[[nodiscard]] Result<std::string> login_request(const std::string& uid, std::string_view key,
                                                WallTime now);

// The token that the login gave: in the JSON of the answer, or as a cookie. `headers` have names in
// lower case.
[[nodiscard]] Result<std::string> parse_login(std::string_view body,
                                              const std::map<std::string, std::string>& headers);

// When a token ends, if it says so.
[[nodiscard]] std::optional<WallTime> end_of_token(std::string_view token);

// Fit for a header: no control characters, no blanks.
[[nodiscard]] bool is_token(std::string_view text);

}  // namespace lb::marathon
