// What a running lbd can still do, as the kernel says it, and that everything it has to do works with that.
#include <cstdint>
#include <filesystem>
#include <sstream>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

// A line of /proc/PID/task/TID/status, or "".
std::string status_line(const std::filesystem::path& task, const std::string& key) {
  std::istringstream in(read_text(task / "status"));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  return "";
}

// SECURITY.md's table: CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF.
constexpr std::uint64_t kNeeded =
    1ULL << 0 | 1ULL << 2 | 1ULL << 10 | 1ULL << 12 | 1ULL << 19 | 1ULL << 38 | 1ULL << 39;

class Privileges : public DaemonNetns {};

TEST_F(Privileges, EveryThreadHasOnlyWhatLbdNeeds) {
  ASSERT_NO_FATAL_FAILURE(serve_web({kOne}));
  int threads = 0;
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", lbd_->pid()))) {
    ++threads;
    for (const auto* set : {"CapPrm", "CapEff", "CapBnd"}) {
      const auto held = std::stoull(status_line(task, set), nullptr, 16);
      EXPECT_EQ(held & ~kNeeded, 0U) << set << " of " << task.path();
    }
    EXPECT_EQ(std::stoull(status_line(task, "CapInh"), nullptr, 16), 0U);
    EXPECT_EQ(std::stoull(status_line(task, "CapAmb"), nullptr, 16), 0U);
    EXPECT_EQ(status_line(task, "NoNewPrivs"), "1") << task.path();
    EXPECT_EQ(status_line(task, "Seccomp"), "2") << task.path();
  }
  EXPECT_GT(threads, 1);
}

}  // namespace
}  // namespace lb::test
