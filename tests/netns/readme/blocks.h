// What README tells people to type.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "support/process.h"

namespace lb::test {

// The first block of shell commands below the heading.
inline std::vector<std::string> commands_of_readme(const std::string& heading) {
  std::istringstream readme(read_text(std::string(LB_TEST_DATA) + "/../../README.md"));
  std::vector<std::string> out;
  bool in_section = false, in_block = false;
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("## ")) in_section = line == heading;
    if (!in_section) continue;
    if (line == "```sh") {
      in_block = true;
    } else if (line == "```") {
      if (in_block) return out;
    } else if (in_block) {
      out.push_back(line);
    }
  }
  return out;
}

}  // namespace lb::test
