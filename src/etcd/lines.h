// The stream of a watch as lines. Both APIs end each message with a newline, which may arrive in a chunk
// of its own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lb::etcd {

class LineSplitter {
 public:
  explicit LineSplitter(std::size_t limit) : limit_(limit) {}
  // EMSGSIZE when a line gets longer than the limit.
  [[nodiscard]] Result<std::vector<std::string>> feed(std::string_view bytes);
  [[nodiscard]] const std::string& rest() const { return rest_; }  // a line without end, so far

 private:
  std::size_t limit_;
  std::string rest_;
};

}  // namespace lb::etcd
