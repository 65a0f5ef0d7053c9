// A network namespace that lives as long as this object or a process in it: it has no name, so nothing
// is left behind when a test crashes.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "support/process.h"

namespace lb::test {

class NetNamespace {
 public:
  NetNamespace();  // with lo up; throws when it cannot be had

  // A path that opens the namespace, for as long as this process lives.
  [[nodiscard]] std::string path() const;
  // What runs `command` inside; the process stays the same one, so signals reach it.
  [[nodiscard]] Command wrap(Command command) const;
  // Runs to the end; throws with the output when it fails.
  void run(const Command& command) const;

 private:
  UniqueFd fd_;
};

// In the namespace of the calling thread; throws with the output when it fails.
void run_or_throw(const Command& command);

}  // namespace lb::test
