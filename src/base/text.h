// Foreign bytes made fit to be shown, and base64.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb {

// At most `limit` characters of `bytes`, everything but printable ASCII as \xNN, "..." when cut.
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t limit = 80);

// The same for what people read in their own script: UTF-8 stays, but for what moves the cursor, ends the line, is not seen or turns
// the direction of what follows. What the log, the API and lbctl show goes through it (src/daemon/logging.cpp, base/foreign_json.h,
// tools/lbctl/table.cpp), so that no name of a service, process or node can write a line of its own there.
[[nodiscard]] std::string printable_text(std::string_view text);
// The begin of UTF-8 text, at most `limit` bytes, not cut within a character.
[[nodiscard]] std::string clipped(std::string_view text, std::size_t limit);

// RFC 4648 section 4, padded: what etcd wants and writes.
[[nodiscard]] std::string base64_encode(std::string_view bytes);
[[nodiscard]] Result<std::string> base64_decode(std::string_view text);

}  // namespace lb
