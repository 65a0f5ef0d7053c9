// Whether what is in a folder can be believed: only root and the user that lbd runs as may put something there, or put another
// folder in its place.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/users.h"

namespace lb {

// The error is a sentence that says what to do. `group`: one that may write there, beside lbd's own. The folder exists; links on the
// way to it must be as safe as folders.
[[nodiscard]] Result<> check_own_folder(const std::string& path,
                                        std::optional<Gid> group = std::nullopt);

}  // namespace lb
