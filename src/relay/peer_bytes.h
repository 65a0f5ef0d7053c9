// What somebody speaks who does not speak our protocol, told by the first bytes. Pure.
#pragma once

#include <string>
#include <string_view>

namespace lb::relay {

// "" when this may be the begin of a message; else a sentence on what it is. Decides once there are
// 8 bytes or a whole line, or before.
[[nodiscard]] std::string not_our_protocol(std::string_view first_bytes);

// What an operator can do about OpenSSL's words on a failed handshake or a refused certificate; ""
// when they say it all.
[[nodiscard]] std::string relay_tls_hint(std::string_view words);

}  // namespace lb::relay
