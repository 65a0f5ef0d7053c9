// The command that `lbctl register` runs: started with our streams, asked to end, waited for. Never
// killed: what it still does is its own affair.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace lb::lbctl {

class Child {
 public:
  // In a process group of its own, so that Ctrl-C on the terminal reaches us alone and the drain comes
  // first. Gets SIGTERM if we die without having stopped it. To be called by the main thread: the
  // kernel ties that to the thread.
  [[nodiscard]] static Result<Child> start(const std::vector<std::string>& command);

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  // After SIGCHLD: the exit code, 128 + signal when it was killed; null while it runs. As process 1
  // (of a container) also reaps what others left behind.
  [[nodiscard]] std::optional<int> reap();

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace lb::lbctl
