// The answer to a GET of etcd's v2 API as keys, read in one pass without a tree of it: a listing of 64 MiB takes little more than its
// keys do. Private to the v2 codec.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd::v2 {

struct Tree {
  bool is_directory = false;  // what was asked for
  std::size_t entries = 0;    // directly in it
  std::vector<KeyValue> kvs;  // all values that start with the prefix, in the answer's order
};

// EBADMSG for what is no answer of etcd, EMSGSIZE for one whose keys take more memory than an answer may.
[[nodiscard]] Result<Tree> read_tree(std::string_view body, std::string_view prefix);

// Names that start with "_" are left out of listings by etcd, but their events are told.
[[nodiscard]] bool is_hidden(std::string_view key, std::string_view prefix);

}  // namespace lb::etcd::v2
