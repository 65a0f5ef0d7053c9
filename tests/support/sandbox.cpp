#include "support/sandbox.h"

#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "base/unique_fd.h"
#include "dataplane/ebpf_dataplane.h"
#include "ebpf/kernel_objects.h"

namespace lb::test {
namespace {

namespace fs = std::filesystem;

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

bool is_bpffs(const char* path) {
  struct statfs info {};
  return ::statfs(path, &info) == 0 && static_cast<std::uint32_t>(info.f_type) == 0xcafe4a11;
}

void kill_all_in(const std::string& cgroup) {
  std::ifstream procs(cgroup + "/cgroup.procs");
  for (pid_t pid = 0; procs >> pid;)
    if (pid != ::getpid()) ::kill(pid, SIGKILL);
}

// With those below; false while one of them has processes.
bool remove_groups(const std::string& group) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(group, ec))
    if (entry.is_directory(ec)) (void)remove_groups(entry.path());
  return ::rmdir(group.c_str()) == 0;
}

}  // namespace

std::string Sandbox::obstacle() {
  if (::geteuid() != 0) return "needs root";
  if (!bpf::find_cgroup2()) return "needs a cgroup2 mount";
  if (!is_bpffs("/sys/fs/bpf")) return "needs a bpffs on /sys/fs/bpf";
  return {};
}

// A test that crashed could not clean up: its hooks would go on counting on this machine.
static void sweep_dead_sandboxes() {
  constexpr std::string_view kPrefix = "lbd-test-";
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/fs/bpf", ec)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const pid_t owner = std::atoi(name.c_str() + kPrefix.size());
    if (owner <= 0 || ::kill(owner, 0) == 0 || errno != ESRCH) continue;
    (void)detach_ebpf(entry.path());
    (void)remove_groups(
        fmt::format("{}/{}", *bpf::find_cgroup2(), name.substr(0, name.find('-', kPrefix.size()))));
  }
}

Sandbox::Sandbox() {
  sweep_dead_sandboxes();
  const std::string name = fmt::format("lbd-test-{}", ::getpid());
  group_ = fmt::format("{}/{}", *bpf::find_cgroup2(), name);
  cgroup_ = group_ + "/own";
  bpffs_ = fmt::format("/sys/fs/bpf/{}", name);
  folder_ = fmt::format("/tmp/{}", name);
  fs::create_directories(cgroup_);
  fs::create_directories(folder_);
  write_text(cgroup_ + "/cgroup.procs", "0");
  if (::unshare(CLONE_NEWNET) != 0) throw std::runtime_error("unshare(CLONE_NEWNET)");
  bring_up_loopback();
  const rlimit many{65536, 65536};
  ::setrlimit(RLIMIT_NOFILE, &many);
}

Sandbox::~Sandbox() {
  (void)detach_ebpf(bpffs_);
  kill_all_in(cgroup_);
  write_text(*bpf::find_cgroup2() + "/cgroup.procs", "0");
  // A killed process leaves its cgroup a moment later.
  for (int i = 0; i < 200 && !remove_groups(group_); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::error_code ec;
  fs::remove_all(folder_, ec);
}

void bring_up_loopback() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) throw std::runtime_error("bring up lo");
  // Above the ports of the tests' servers: a client on one of them keeps a server from coming back.
  write_text("/proc/sys/net/ipv4/ip_local_port_range", "33000 65000");
  write_text("/proc/sys/net/ipv4/tcp_tw_reuse", "1");
  write_text("/proc/sys/net/ipv4/tcp_tw_reuse_delay", "1");  // ms; Linux 6.16 and later
  write_text("/proc/sys/net/core/somaxconn", "8192");
}

}  // namespace lb::test
