// A place of its own for a test that attaches real hooks: network namespace, cgroup and bpffs folder,
// so that nothing else on the machine is touched. The process enters them for good (each test is a
// process); what is left behind in the file systems is removed, also when the test fails.
#pragma once

#include <string>

namespace lb::test {

class Sandbox {
 public:
  // Why it cannot be had (not root, no cgroup2, no bpffs), or "".
  static std::string obstacle();

  Sandbox();
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  [[nodiscard]] const std::string& cgroup() const {
    return cgroup_;
  }                                                                  // hooks go here; we are in it
  [[nodiscard]] const std::string& bpffs() const { return bpffs_; }  // does not exist yet
  [[nodiscard]] const std::string& folder() const { return folder_; }  // for files

 private:
  std::string group_;  // holds cgroup_, so that what is above that one is ours too
  std::string cgroup_;
  std::string bpffs_;
  std::string folder_;
};

// "ip link set lo up" and the settings that many short connections need, in this namespace.
void bring_up_loopback();

}  // namespace lb::test
