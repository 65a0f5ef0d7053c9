// A temporary folder of services files.
#pragma once

#include <filesystem>
#include <string>

#include "support/temp_folder.h"

namespace lb {

class ServicesFolder : public TempFolder {
 public:
  std::string operator/(const std::string& name) const { return file(name); }
  // As careful programs do it: beside, then over.
  void replace(const std::string& name, const std::string& text) const {
    std::filesystem::rename(write(name + ".tmp", text), file(name));
  }
};

inline std::string service_text(const std::string& name, int port) {
  return "[[service]]\nname = \"" + name + "\"\nlisten = \"127.0.0.1:" + std::to_string(port) +
         "\"\nbackends = [ { address = \"10.0.0.1:80\" } ]\n";
}

}  // namespace lb
