// Foreign bytes made fit for a log line, and base64.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb {

// At most `limit` characters of `bytes`, everything but printable ASCII as \xNN, "..." when cut.
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t limit = 80);

// The begin of UTF-8 text, at most `limit` bytes, not cut within a character.
[[nodiscard]] std::string clipped(std::string_view text, std::size_t limit);

// RFC 4648 section 4, padded: what etcd wants and writes.
[[nodiscard]] std::string base64_encode(std::string_view bytes);
[[nodiscard]] Result<std::string> base64_decode(std::string_view text);

}  // namespace lb
