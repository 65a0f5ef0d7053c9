// The stream of a watch as lines. Both APIs end each message with a newline, which may arrive in a chunk
// of its own.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb::etcd {

class LineSplitter {
 public:
  explicit LineSplitter(std::size_t limit) : limit_(limit) {}
  void feed(std::string_view bytes);
  // Lines that are not empty, one by one: a list of them all would take more than their text. EMSGSIZE when one is longer than the
  // limit.
  [[nodiscard]] Result<std::optional<std::string>> next();
  // Bytes that are not in a line yet; after next() has given nothing, those of a line without end.
  [[nodiscard]] std::size_t pending() const { return rest_.size() - begin_; }

 private:
  std::size_t limit_;
  std::string rest_;
  std::size_t begin_ = 0;    // of the line in rest_
  std::size_t scanned_ = 0;  // so far it has no end
};

}  // namespace lb::etcd
