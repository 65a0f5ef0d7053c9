#include "state/saved_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

bool is_unfinished(const std::string& name) {
  constexpr std::string_view kMark = ".new.";
  const auto at = name.rfind(kMark);
  if (at == std::string::npos || at == 0 || at + kMark.size() == name.size()) return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(at + kMark.size()), name.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Result<> load_saved(const std::string& path,
                    const std::function<Result<>(std::string_view)>& read) {
  const Result<std::string> content = read_own_file(path, std::size_t{1} << 30);
  if (!content && (content.error().code == std::errc::no_such_file_or_directory ||
                   content.error().code == std::errc::not_a_directory))
    return {};
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

// What cannot be listed or removed does no harm.
void remove_unfinished(const std::string& folder) {
  std::error_code ec;
  std::vector<fs::path> found;
  for (fs::directory_iterator it(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec))
    if (is_unfinished(it->path().filename().string()) && it->is_regular_file(ec))
      found.push_back(it->path());
  for (const fs::path& path : found) fs::remove(path, ec);
}

}  // namespace lb
