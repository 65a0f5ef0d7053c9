// What an operator can do about curl's words on TLS, which name the symptom. Pure.
#pragma once

#include <string>
#include <string_view>

#include "http/client.h"

namespace lb {

// "" when they are not about TLS, or need no explanation. Names `ca`, `cert` and `key` as the
// configuration does.
[[nodiscard]] std::string tls_hint(std::string_view words, const HttpTls& tls);

// The same of a new connection that its server ended without a word.
[[nodiscard]] std::string hang_up_hint(std::string_view url, const HttpTls& tls);

}  // namespace lb
