#include "ebpf/probe.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/inet_diag.h>
#include <linux/membarrier.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/unique_fd.h"
#include "ebpf/hooks.h"

namespace lb {
namespace {

// "r0 = VALUE; exit", as bytes so that no macro of the kernel's samples is needed.
std::array<bpf_insn, 2> return_constant(int value) {
  bpf_insn move{};
  move.code = BPF_ALU64 | BPF_MOV | BPF_K;
  move.imm = value;
  bpf_insn leave{};
  leave.code = BPF_JMP | BPF_EXIT;
  return {move, leave};
}

Result<> probe(const bpf::Hook& hook) {
  LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = hook.attach);
  if (hook.btf_name != nullptr) {
    const int id = libbpf_find_vmlinux_btf_id(hook.btf_name, hook.attach);
    if (id < 0) return fail(-id, fmt::format("find {} in the kernel's BTF", hook.section));
    opts.attach_btf_id = static_cast<__u32>(id);
  }
  // The verifier lets cgroup hooks return 1 (allow), and tracing programs 0.
  const auto code = return_constant(hook.btf_name == nullptr ? 1 : 0);
  const int fd =
      bpf_prog_load(hook.type, "lb_probe", "Dual BSD/GPL", code.data(), code.size(), &opts);
  if (fd < 0) return fail(-fd, fmt::format("load {}", hook.section));
  const UniqueFd loaded(fd);
  return {};
}

std::string program_name(__u32 id) {
  const UniqueFd fd(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  __u32 size = sizeof info;
  if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return "?";
  return info.name;
}

// The answer to one request that concerns no socket: 0, or an errno.
int ask_sock_diag(int fd, __u16 type, __u16 flags, int protocol) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header = {.nlmsg_len = sizeof message,
                    .nlmsg_type = type,
                    .nlmsg_flags = static_cast<__u16>(NLM_F_REQUEST | flags),
                    .nlmsg_seq = 1,
                    .nlmsg_pid = 0};
  message.request.sdiag_family = AF_INET;
  message.request.sdiag_protocol = static_cast<__u8>(protocol);
  // 0.0.0.0:0 to 0.0.0.0:0 with a cookie that the kernel, counting up from 1, never reaches; no state.
  message.request.id.idiag_cookie[0] = 0xfffffffeU;
  message.request.id.idiag_cookie[1] = 0xfffffffeU;
  if (::send(fd, &message, sizeof message, 0) < 0) return errno;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    std::array<char, 512> rest;
  } reply{};
  if (::recv(fd, &reply, sizeof reply, 0) < 0) return errno;
  return reply.header.nlmsg_type == NLMSG_ERROR ? -reply.error.error : 0;
}

}  // namespace

std::vector<HookProbe> probe_hooks() {
  // Failures are answers here; libbpf would print them.
  const libbpf_print_fn_t before = libbpf_set_print(nullptr);
  std::vector<HookProbe> out;
  for (const bpf::Hook& hook : bpf::all_hooks()) out.push_back({hook.section, probe(hook)});
  libbpf_set_print(before);
  return out;
}

Result<> probe_sock_destroy() {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail(errno, "open a sock_diag socket");
  // A kernel without the module says ENOENT to everything; only a listing tells that apart.
  for (const auto& [protocol, module] :
       {std::pair{IPPROTO_TCP, "tcp_diag"}, std::pair{IPPROTO_UDP, "udp_diag"}})
    if (const int err = ask_sock_diag(fd.get(), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, protocol);
        err != 0)
      return fail(err, fmt::format("list sockets (kernel module {})", module));
  const int err = ask_sock_diag(fd.get(), SOCK_DESTROY, NLM_F_ACK, IPPROTO_TCP);
  // ENOENT is the good answer: the kernel would have, and there was no such socket.
  if (err != 0 && err != ENOENT) return fail(err, "destroy a socket");
  return {};
}

Result<> probe_membarrier() {
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  if (commands < 0) return fail(errno, "membarrier");
  if ((commands & MEMBARRIER_CMD_GLOBAL) == 0) return fail(ENOTSUP, "membarrier GLOBAL");
  return {};
}

Result<std::vector<std::string>> connect_programs(const std::string& cgroup) {
  const UniqueFd fd(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open {}", cgroup));
  std::array<__u32, 64> ids{};  // the kernel's own limit for one cgroup
  __u32 count = ids.size();
  __u32 flags = 0;
  const int err = bpf_prog_query(fd.get(), BPF_CGROUP_INET4_CONNECT, BPF_F_QUERY_EFFECTIVE, &flags,
                                 ids.data(), &count);
  if (err < 0) return fail(-err, fmt::format("query the programs on {}", cgroup));
  std::vector<std::string> out;
  out.reserve(count);
  for (__u32 i = 0; i < count; ++i) out.push_back(program_name(ids.at(i)));
  return out;
}

}  // namespace lb
