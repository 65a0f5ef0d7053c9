#include "guest.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/unique_fd.h"
#include "support/process.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

void must(bool holds, const std::string& what) {
  if (!holds) throw std::system_error(errno, std::generic_category(), what);
}

// Name and users of what is loaded, ip_vs itself last: it can go when its schedulers have gone.
std::vector<std::string> loaded_ip_vs() {
  std::ifstream modules("/proc/modules");
  std::vector<std::string> out;
  for (std::string line; std::getline(modules, line);) {
    const std::string name = line.substr(0, line.find(' '));
    if (name.starts_with("ip_vs_")) out.push_back(name);
  }
  if (is_loaded("ip_vs")) out.emplace_back("ip_vs");
  return out;
}

constexpr __user_cap_header_struct kThisThread{_LINUX_CAPABILITY_VERSION_3, 0};

}  // namespace

std::string why_no_guest() {
  const char* kernel = std::getenv("LB_VM_KERNEL");
  utsname name{};
  if (kernel == nullptr || ::uname(&name) != 0 || !std::string(name.release).starts_with(kernel) ||
      std::string(name.nodename) != "lbd-vm")
    return "this is no guest of tests/vm/run";
  return "";
}

void enter_fresh_namespace() {
  must(::unshare(CLONE_NEWNET) == 0, "unshare");
  bring_up_loopback();
}

void enter_first_namespace() {
  const UniqueFd first(::open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC));
  must(::setns(first.get(), CLONE_NEWNET) == 0, "setns");
}

bool is_loaded(const std::string& module) {
  return ::access(("/sys/module/" + module + "/initstate").c_str(), F_OK) == 0;
}

bool unload_ip_vs() {
  return eventually(
      [] {
        for (const std::string& module : loaded_ip_vs()) (void)run({"rmmod", module});
        return !is_loaded("ip_vs");
      },
      std::chrono::minutes(1));
}

TemporaryFile::TemporaryFile(std::string path, const std::string& text) : path_(std::move(path)) {
  std::ofstream(path_) << text;
}

TemporaryFile::~TemporaryFile() { ::unlink(path_.c_str()); }

HiddenFolder::HiddenFolder(std::string path) : path_(std::move(path)) {
  must(::mount("tmpfs", path_.c_str(), "tmpfs", 0, nullptr) == 0, "mount on " + path_);
}

HiddenFolder::~HiddenFolder() { ::umount(path_.c_str()); }

OnlyCapabilities::OnlyCapabilities(const std::vector<int>& capabilities) {
  must(::syscall(SYS_capget, &kThisThread, before_) == 0, "capget");
  __user_cap_data_struct now[2]{before_[0], before_[1]};
  now[0].effective = now[1].effective = 0;
  for (const int capability : capabilities)
    now[CAP_TO_INDEX(capability)].effective |= CAP_TO_MASK(capability);
  must(::syscall(SYS_capset, &kThisThread, now) == 0, "capset");
}

OnlyCapabilities::~OnlyCapabilities() { (void)::syscall(SYS_capset, &kThisThread, before_); }

ipvs::ServiceId service_id(const std::string& key) {
  return ipvs::ServiceId::of(ServiceKey::parse(key).value());
}

ipvs::Command add_service(const ipvs::ServiceId& id, const std::string& scheduler) {
  return {ipvs::Command::Kind::AddService, {id, scheduler, 0, 0}, {}};
}

ipvs::Command add_server(const ipvs::ServiceId& id, const std::string& server,
                         std::uint32_t weight) {
  return {ipvs::Command::Kind::AddServer, {id, "", 0, 0}, {address(server), weight, {}}};
}

ipvs::Command with_kind(ipvs::Command command, ipvs::Command::Kind kind) {
  command.kind = kind;
  return command;
}

}  // namespace lb::test
