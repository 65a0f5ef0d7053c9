// Commands that stand for a configuration: what they are told becomes the same Config that a file would.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"

namespace lb {

// lbd merlion PREFIX...
struct MerlionPreset {
  std::vector<std::string> prefixes;
  std::vector<std::string> endpoints{"http://localhost:2379"};  // as Merlion
  std::string api = "auto";
  HttpTls tls;
  std::string username;
  std::string password_file;
  bool exit_without_config = false;
};

// The error names the argument.
[[nodiscard]] Result<Config> merlion_config(const MerlionPreset& preset);

}  // namespace lb
