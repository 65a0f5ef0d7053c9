#include "etcd/lines.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace lb::etcd {

Result<std::vector<std::string>> LineSplitter::feed(std::string_view bytes) {
  std::vector<std::string> lines;
  for (;;) {
    const auto newline = bytes.find('\n');
    rest_.append(bytes.substr(0, newline));
    if (rest_.size() > limit_)
      return fail(EMSGSIZE, fmt::format("a watch message of more than {} bytes", limit_));
    if (newline == std::string_view::npos) return lines;
    if (!rest_.empty()) lines.push_back(std::exchange(rest_, {}));
    bytes.remove_prefix(newline + 1);
  }
}

}  // namespace lb::etcd
