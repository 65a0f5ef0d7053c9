#include "etcd/lines.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace lb::etcd {

void LineSplitter::feed(std::string_view bytes) {
  rest_.erase(0, begin_);
  scanned_ -= std::exchange(begin_, 0);
  rest_.append(bytes);
}

Result<std::optional<std::string>> LineSplitter::next() {
  for (;;) {
    const auto newline = rest_.find('\n', scanned_);
    scanned_ = newline == std::string::npos ? rest_.size() : newline + 1;
    const bool whole = newline != std::string::npos;
    const std::size_t size = scanned_ - begin_ - (whole ? 1 : 0);
    if (size > limit_)
      return fail(EMSGSIZE, fmt::format("a watch message of more than {} bytes", limit_));
    if (!whole) return std::optional<std::string>();
    const std::size_t begin = std::exchange(begin_, scanned_);
    if (size == 0) continue;
    if (begin > 0 || begin_ < rest_.size()) return std::optional(rest_.substr(begin, size));
    // The usual case, and that of large ones: no copy.
    std::string line = std::exchange(rest_, {});
    begin_ = scanned_ = 0;
    line.pop_back();
    return std::optional(std::move(line));
  }
}

}  // namespace lb::etcd
