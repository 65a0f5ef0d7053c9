#include "etcd/access.h"

#include <cerrno>

#include <fmt/format.h>

#include "base/file.h"

namespace lb::etcd {

Result<Mode> parse_mode(std::string_view text) {
  if (text == "auto") return Mode::Auto;
  if (text == "v3") return Mode::V3;
  if (text == "v2") return Mode::V2;
  return fail(EINVAL, fmt::format("'{}' is not an etcd API: use auto, v3 or v2", text));
}

Result<std::string> read_password(const Access& access) {
  constexpr std::size_t kLongest = 4096;
  LB_TRY(std::string password, read_file(access.password_file, kLongest));
  while (password.ends_with('\n') || password.ends_with('\r')) password.pop_back();
  return password;
}

}  // namespace lb::etcd
