#include "base/secret_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

constexpr std::string_view kCredential = "credential:";

}  // namespace

std::string secret_path(const std::string& text) {
  if (!text.starts_with(kCredential)) return text;
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr || *folder == '\0') return text;
  return fmt::format("{}/{}", folder, text.substr(kCredential.size()));
}

Result<> check_secret_path(const std::string& text) {
  if (text.starts_with('/')) return {};
  const std::string_view name = std::string_view(text).substr(
      text.starts_with(kCredential) ? kCredential.size() : text.size());
  // As systemd has them: the name of a file.
  if (!name.empty() && name.find('/') == std::string_view::npos && name != "." && name != "..")
    return {};
  return fail(EINVAL, fmt::format("'{}' is no absolute path: start it with /, or write "
                                  "credential:NAME for a credential of the unit",
                                  printable(text)));
}

std::string why_exposed(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0 || (info.st_mode & S_IROTH) == 0) return {};
  return fmt::format("{} can be read by every user of this host: chmod o-rwx",
                     printable(path, 400));
}

Result<> check_server_url(std::string_view url, std::string_view example) {
  if (url.find('@') != std::string_view::npos)
    return fail("a URL has a password in it: write username and password_file instead");
  const bool odd =
      std::any_of(url.begin(), url.end(), [](char c) { return c <= ' ' || c >= 0x7f; });
  const auto begin = url.starts_with("https://") ? 8U : 7U;
  const bool scheme = url.starts_with("http://") || url.starts_with("https://");
  if (url.find_first_of("?#") != std::string_view::npos)
    return fail(
        fmt::format("a URL has a query in it, where paths are added to it: write for example "
                    "\"{}\"",
                    example));
  if (scheme && !odd && url.size() > begin && url[begin] != '/') return {};
  return fail(fmt::format("'{}' is no URL: write for example \"{}\"", printable(url), example));
}

std::string plain_endpoint(const std::vector<std::string>& urls) {
  const auto plain = std::find_if(urls.begin(), urls.end(), [](const std::string& url) {
    return !url.starts_with("https://");
  });
  return plain == urls.end() ? std::string() : *plain;
}

}  // namespace lb
