// What a watch on folders has told: names of files, in full.
#pragma once

#include <set>
#include <string>

namespace lb {

struct FolderChanges {
  std::set<std::string> paths;
  // Those among them that were made where they are, and not moved there when they were whole.
  std::set<std::string> created{};
};

}  // namespace lb
