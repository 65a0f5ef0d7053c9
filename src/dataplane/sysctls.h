// Kernel settings that lbd changes, and what they were before: kept in a file, so that `lbd detach` can put
// them back whatever happened to the process that changed them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"

namespace lb {

class Sysctls {
 public:
  // `file` is read if it exists; `root` is /proc/sys but in tests.
  [[nodiscard]] static Result<Sysctls> open(std::filesystem::path file,
                                            std::filesystem::path root = "/proc/sys");

  // `name` as a path: "net/ipv4/vs/conntrack". ENOENT where the kernel has no such setting.
  [[nodiscard]] Result<std::string> get(const std::string& name) const;
  // Sets it unless it is so; the value it had is saved before. An earlier saved one stays. True: it had been set before, and
  // it was changed since.
  [[nodiscard]] Result<bool> set(const std::string& name, const std::string& value);
  // The value before lbd's first change; nullopt where lbd changed nothing.
  [[nodiscard]] std::optional<std::string> before(const std::string& name) const;
  // Puts back every setting that still has lbd's value (one that somebody else changed since is his),
  // and forgets all. A setting that is gone (an interface) is no error.
  [[nodiscard]] Result<> restore();

 private:
  struct Change {
    std::string before, ours;
  };
  [[nodiscard]] Result<> save() const;

  std::filesystem::path file_, root_;
  std::map<std::string, Change> changes_;
};

}  // namespace lb
