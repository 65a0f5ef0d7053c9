#include "daemon/privileges.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "base/capabilities.h"

namespace lb {
namespace {

constexpr std::uint64_t bit(unsigned capability) { return std::uint64_t{1} << capability; }

std::string refused(std::string_view what, int error) {
  return fmt::format("{}: {}", what, std::generic_category().message(error));
}

// Without these a hole in lbd cannot become another program, another kernel or another clock.
constexpr std::array kNeverCalled{
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(reboot),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(personality),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(syslog),
    SCMP_SYS(vhangup),
    SCMP_SYS(unshare),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
};

#ifndef LB_SANITIZED
constexpr std::array kNeverCalledButBySanitizers{SCMP_SYS(ptrace)};
#else
constexpr std::array<int, 0> kNeverCalledButBySanitizers{};
#endif

int filter_system_calls() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW),
                                                                &seccomp_release);
  if (!filter) return ENOMEM;
  for (const auto& calls :
       {std::span<const int>(kNeverCalled), std::span<const int>(kNeverCalledButBySanitizers)})
    for (const int call : calls)
      if (const int ret = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0); ret < 0)
        return -ret;
  return -seccomp_load(filter.get());
}

int keep_only(std::uint64_t wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return errno;
  // Needs CAP_SETPCAP; who lacks that has nothing that is worth dropping here.
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    if ((wanted & bit(capability)) == 0) (void)::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned half = 0; half < data.size(); ++half) {
    const auto mask = static_cast<std::uint32_t>(wanted >> (32 * half));
    data[half].permitted &= mask;
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  return ::syscall(SYS_capset, &header, data.data()) == 0 ? 0 : errno;
}

}  // namespace

std::uint64_t kept_capabilities(bool all_namespaces) {
  std::uint64_t out = bit(kCapNetAdmin) | bit(kCapBpf) | bit(kCapPerfmon) | bit(CAP_SYS_PTRACE) |
                      bit(CAP_DAC_READ_SEARCH) | bit(CAP_NET_BIND_SERVICE) | bit(CAP_CHOWN);
  if (all_namespaces) out |= bit(kCapSysAdmin);
  return out;
}

std::vector<std::string> give_up_privileges(bool all_namespaces) {
  std::vector<std::string> out;
  const auto note = [&](std::string_view what, int error) {
    if (error != 0) out.push_back(refused(what, error));
  };
  note("lbd keeps capabilities that it does not need: capset",
       keep_only(kept_capabilities(all_namespaces)));
  note("lbd may gain privileges: PR_SET_NO_NEW_PRIVS",
       ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno);
#ifndef LB_SANITIZED  // their search for leaks reads this process from another
  note("lbd may leave core files: PR_SET_DUMPABLE",
       ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : errno);
#endif
  note("lbd may make every system call: seccomp", filter_system_calls());
  return out;
}

}  // namespace lb
