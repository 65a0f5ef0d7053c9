// Small files of our own in state_dir. One that cannot be understood is put aside, not overwritten:
// a person can look at it, and the start goes on without it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb {

// Hands the content to `read`. An absent file is fine: `read` is not called. When `read` fails, the
// file is renamed to PATH.broken and the error names both; `read`'s own context follows the path in
// that sentence ("has no version").
[[nodiscard]] Result<> load_saved(const std::string& path,
                                  const std::function<Result<>(std::string_view)>& read);

// Removes what a crash within write_file_atomically() has left in a folder of ours: NAME.new.PID. The folder
// is locked, and nothing is being written.
void remove_unfinished(const std::string& folder);

}  // namespace lb
