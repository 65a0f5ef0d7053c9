#include "state/saved_file.h"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {

Result<> load_saved(const std::string& path,
                    const std::function<Result<>(std::string_view)>& read) {
  const Result<std::string> content = read_file(path, std::size_t{1} << 30);
  if (!content && content.error().code == std::errc::no_such_file_or_directory) return {};
  // Not ours to judge: a file that cannot be read may be perfectly good.
  if (!content) return tl::unexpected(content.error());
  const Result<> understood = read(*content);
  if (understood) return {};
  const Error error{understood.error().code,
                    fmt::format("{} {}", path, understood.error().context)};
  const std::string aside = path + ".broken";
  if (std::rename(path.c_str(), aside.c_str()) != 0)
    return fail(fmt::format("{} (and it cannot be renamed to {})", error.message(), aside));
  return fail(fmt::format("{} (kept as {})", error.message(), aside));
}

}  // namespace lb
