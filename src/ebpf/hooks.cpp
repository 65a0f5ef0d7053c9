#include "ebpf/hooks.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/capabilities.h"

namespace lb::bpf {
namespace {

constexpr auto kCgroup = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
constexpr auto kTracing = BPF_PROG_TYPE_TRACING;

constexpr std::array<Hook, 12> kHooks{{
    {"cgroup/connect4", kCgroup, BPF_CGROUP_INET4_CONNECT, nullptr,
     "choose a backend when a program connects", nullptr},
    {"cgroup/connect6", kCgroup, BPF_CGROUP_INET6_CONNECT, nullptr,
     "choose a backend when a program connects", nullptr},
    {"cgroup/sendmsg4", kCgroup, BPF_CGROUP_UDP4_SENDMSG, nullptr,
     "choose a backend for unconnected UDP", "unconnected UDP sockets of IPv4 are not balanced"},
    {"cgroup/sendmsg6", kCgroup, BPF_CGROUP_UDP6_SENDMSG, nullptr,
     "choose a backend for unconnected UDP", "unconnected UDP sockets of IPv6 are not balanced"},
    {"cgroup/recvmsg4", kCgroup, BPF_CGROUP_UDP4_RECVMSG, nullptr,
     "show the service's address on UDP replies",
     "UDP replies over IPv4 show the backend's address, not the service's"},
    {"cgroup/recvmsg6", kCgroup, BPF_CGROUP_UDP6_RECVMSG, nullptr,
     "show the service's address on UDP replies",
     "UDP replies over IPv6 show the backend's address, not the service's"},
    {"cgroup/getpeername4", kCgroup, BPF_CGROUP_INET4_GETPEERNAME, nullptr,
     "show the service's address to the program",
     "getpeername() over IPv4 shows the backend's address, not the service's"},
    {"cgroup/getpeername6", kCgroup, BPF_CGROUP_INET6_GETPEERNAME, nullptr,
     "show the service's address to the program",
     "getpeername() over IPv6 shows the backend's address, not the service's"},
    {kCountingHook, kTracing, BPF_TRACE_RAW_TP, "inet_sock_set_state", "count connections exactly",
     "connections are not counted: active_connections is null, least-conn and p2c choose at random "
     "by weight, failed connects are not seen, and drains look for open connections among the "
     "sockets"},
    {"tp_btf/tcp_retransmit_skb", kTracing, BPF_TRACE_RAW_TP, "tcp_retransmit_skb",
     "notice backends that do not answer",
     "a backend that does not answer is noticed only when connects to it time out"},
    {kTcpWalkHook, kTracing, BPF_TRACE_ITER, "tcp", "recount after a restart, and end connections",
     "counts are checked against a list of sockets only in quiet moments, and connections cannot "
     "be "
     "ended (--terminate, on_timeout = \"terminate\")"},
    {kUdpWalkHook, kTracing, BPF_TRACE_ITER, "udp", "find connected UDP sockets",
     "connected UDP sockets of a backend that is gone stay with it, and drains do not wait for "
     "them"},
}};

bool is_refusal_of_rights(const Error& error) {
  return error.code == std::errc::operation_not_permitted ||
         error.code == std::errc::permission_denied;
}

}  // namespace

std::span<const Hook> all_hooks() { return kHooks; }

const Hook* find_hook(std::string_view section) {
  const auto it = std::find_if(kHooks.begin(), kHooks.end(),
                               [&](const Hook& hook) { return hook.section == section; });
  return it == kHooks.end() ? nullptr : &*it;
}

std::string explain_refusal(const Error& error, std::uint64_t capabilities) {
  // Missing rights first: a helper that needs one is "Invalid argument" to the verifier.
  if (const std::string missing = missing_for_bpf(capabilities); !missing.empty())
    return fmt::format(
        "{} not held: run lbd as root, or give its service AmbientCapabilities=CAP_BPF "
        "CAP_NET_ADMIN CAP_PERFMON",
        missing);
  if (!is_refusal_of_rights(error))
    return "use a kernel with CONFIG_CGROUP_BPF=y, CONFIG_BPF_SYSCALL=y and "
           "CONFIG_DEBUG_INFO_BTF=y";
  return "this kernel refuses it although CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are held: allow "
         "bpf() in the container's seccomp filter, lift the kernel's lockdown "
         "(/sys/kernel/security/lockdown), or do without";
}

}  // namespace lb::bpf
