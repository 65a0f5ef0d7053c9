#include "ebpf/links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kCgroup2Magic = 0x63677270;  // linux/magic.h

// In the order of attaching: who counts and who translates back comes before who steers.
struct HookProgram {
  const char* name;
  int attach_type;  // BPF_TRACE_RAW_TP for tracepoints
  bpf_program* program;
  bpf_map* calls;  // tracepoints: the program array through which the stub calls
  bpf_program* callee;
};

std::array<HookProgram, 10> hooks_of(lbd& s) {
  const auto& p = s.progs;
  return {{{"state", BPF_TRACE_RAW_TP, p.lb_state_stub, s.maps.state_program, p.lb_state},
           {"retransmit", BPF_TRACE_RAW_TP, p.lb_retransmit_stub, s.maps.retransmit_program,
            p.lb_retransmit},
           {"getpeername4", BPF_CGROUP_INET4_GETPEERNAME, p.lb_getpeername4, nullptr, nullptr},
           {"getpeername6", BPF_CGROUP_INET6_GETPEERNAME, p.lb_getpeername6, nullptr, nullptr},
           {"recvmsg4", BPF_CGROUP_UDP4_RECVMSG, p.lb_recvmsg4, nullptr, nullptr},
           {"recvmsg6", BPF_CGROUP_UDP6_RECVMSG, p.lb_recvmsg6, nullptr, nullptr},
           {"sendmsg4", BPF_CGROUP_UDP4_SENDMSG, p.lb_sendmsg4, nullptr, nullptr},
           {"sendmsg6", BPF_CGROUP_UDP6_SENDMSG, p.lb_sendmsg6, nullptr, nullptr},
           {"connect4", BPF_CGROUP_INET4_CONNECT, p.lb_connect4, nullptr, nullptr},
           {"connect6", BPF_CGROUP_INET6_CONNECT, p.lb_connect6, nullptr, nullptr}}};
}

bool program_info(int fd, bpf_prog_info& info, std::vector<std::uint32_t>* map_ids = nullptr) {
  std::uint32_t length = sizeof info;
  info = {};
  if (::bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return false;
  if (!map_ids) return true;
  map_ids->resize(info.nr_map_ids);
  const auto count = info.nr_map_ids;
  info = {};
  info.nr_map_ids = count;
  info.map_ids = reinterpret_cast<std::uintptr_t>(map_ids->data());
  length = sizeof info;
  return ::bpf_obj_get_info_by_fd(fd, &info, &length) == 0;
}

bool link_info(int fd, bpf_link_info& info) {
  std::uint32_t length = sizeof info;
  info = {};
  return ::bpf_obj_get_info_by_fd(fd, &info, &length) == 0;
}

std::uint32_t map_id(int fd) {
  bpf_map_info info{};
  std::uint32_t length = sizeof info;
  return ::bpf_obj_get_info_by_fd(fd, &info, &length) == 0 ? info.id : 0;
}

std::uint64_t cgroup_id(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;  // the inode is the id, on 64-bit kernels
}

Result<UniqueFd> open_cgroup(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open cgroup {}", path));
  struct statfs info {};
  if (::fstatfs(fd.get(), &info) != 0 || static_cast<std::uint32_t>(info.f_type) != kCgroup2Magic)
    return fail(fmt::format("{} is not a folder of cgroup2: set [dataplane] cgroup to one", path));
  return fd;
}

// May the pinned link stay? A cgroup link must lie on our cgroup; a tracepoint's must run the very stub
// that we have, calling through our program array.
bool can_take_over(int link_fd, const HookProgram& hook, int cgroup_fd) {
  bpf_link_info info{};
  if (!link_info(link_fd, info)) return false;
  if (!hook.calls)
    return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id(cgroup_fd);
  const UniqueFd attached(::bpf_prog_get_fd_by_id(info.prog_id));
  bpf_prog_info theirs{}, ours{};
  std::vector<std::uint32_t> maps;
  return attached && program_info(attached.get(), theirs, &maps) &&
         program_info(bpf_program__fd(hook.program), ours) &&
         std::memcmp(theirs.tag, ours.tag, sizeof ours.tag) == 0 &&
         std::find(maps.begin(), maps.end(), map_id(bpf_map__fd(hook.calls))) != maps.end();
}

Result<> store_callee(const HookProgram& hook) {
  const std::uint32_t zero = 0;
  const int callee = bpf_program__fd(hook.callee);
  if (::bpf_map_update_elem(bpf_map__fd(hook.calls), &zero, &callee, BPF_ANY) != 0)
    return fail(errno, fmt::format("store the program of tracepoint {}", hook.name));
  return {};
}

Result<UniqueFd> make_link(const HookProgram& hook, int cgroup_fd, const std::string& path) {
  const int program = bpf_program__fd(hook.program);
  UniqueFd fd(hook.calls
                  ? ::bpf_raw_tracepoint_open(nullptr, program)
                  : ::bpf_link_create(program, cgroup_fd,
                                      static_cast<bpf_attach_type>(hook.attach_type), nullptr));
  if (!fd) return fail(errno, fmt::format("attach {}", hook.name));
  ::unlink(path.c_str());
  if (::bpf_obj_pin(fd.get(), path.c_str()) != 0) return fail(errno, fmt::format("pin {}", path));
  ::chmod(path.c_str(), 0640);
  return fd;
}

std::uint32_t program_id(const bpf_program* program) {
  bpf_prog_info info{};
  return program_info(bpf_program__fd(program), info) ? info.id : 0;
}

std::vector<std::uint32_t> effective_programs(int cgroup_fd, int attach_type, unsigned flags) {
  std::vector<std::uint32_t> ids(64);
  auto count = static_cast<std::uint32_t>(ids.size());
  std::uint32_t attach_flags = 0;
  if (::bpf_prog_query(cgroup_fd, static_cast<bpf_attach_type>(attach_type), flags, &attach_flags,
                       ids.data(), &count) != 0)
    count = 0;
  ids.resize(std::min<std::size_t>(count, ids.size()));
  return ids;
}

// The pin folder that a program named like ours carries in its .rodata; empty when it is not an lbd's.
std::string pin_folder_of(std::uint32_t id) {
  const UniqueFd program(::bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  std::vector<std::uint32_t> maps;
  if (!program || !program_info(program.get(), info, &maps) ||
      std::string_view(info.name) != "lb_connect4")
    return {};
  for (const auto map : maps) {
    const UniqueFd fd(::bpf_map_get_fd_by_id(map));
    bpf_map_info details{};
    std::uint32_t length = sizeof details;
    if (!fd || ::bpf_obj_get_info_by_fd(fd.get(), &details, &length) != 0) continue;
    if (!std::string_view(details.name).ends_with(".rodata")) continue;
    std::vector<char> value(details.value_size + 1, 0);
    const std::uint32_t zero = 0;
    constexpr std::size_t kFolderAt = sizeof(std::uint64_t);  // after lb_netns_cookie
    if (::bpf_map_lookup_elem(fd.get(), &zero, value.data()) == 0 && value.size() > kFolderAt)
      return value.data() + kFolderAt;
  }
  return "unknown";
}

Result<> refuse_in(const fs::path& cgroup, unsigned flags, const std::string& bpffs) {
  const UniqueFd fd(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return {};  // gone meanwhile
  for (const auto id : effective_programs(fd.get(), BPF_CGROUP_INET4_CONNECT, flags)) {
    const std::string theirs = pin_folder_of(id);
    if (!theirs.empty() && theirs != bpffs)
      return fail(EBUSY,
                  fmt::format("another lbd (pinned in {}) serves cgroup {}: stop it and run "
                              "`lbd detach --bpffs {}`, or choose another [dataplane] cgroup",
                              theirs, cgroup.string(), theirs));
  }
  return {};
}

}  // namespace

Result<Links> Links::attach(lbd& skeleton, const std::string& cgroup, const std::string& bpffs) {
  Links out;
  LB_TRY(out.cgroup_, open_cgroup(cgroup));
  const std::string folder = bpffs + "/links";
  if (::mkdir(folder.c_str(), 0750) != 0 && errno != EEXIST)
    return fail(errno, fmt::format("mkdir {}", folder));
  for (const auto& hook : hooks_of(skeleton)) {
    if (hook.calls) LB_CHECK(store_callee(hook));
    const std::string path = fmt::format("{}/{}", folder, hook.name);
    UniqueFd fd(::bpf_obj_get(path.c_str()));
    if (fd && can_take_over(fd.get(), hook, out.cgroup_.get())) {
      if (!hook.calls && ::bpf_link_update(fd.get(), bpf_program__fd(hook.program), nullptr) != 0)
        return fail(errno, fmt::format("update the link of {}", hook.name));
    } else {
      fd.reset();
      ::unlink(path.c_str());
      LB_TRY(fd, make_link(hook, out.cgroup_.get(), path));
    }
    out.links_.push_back(
        {path, std::move(fd), program_id(hook.program), hook.attach_type, hook.calls == nullptr});
  }
  return out;
}

bool Links::intact() const {
  return std::all_of(links_.begin(), links_.end(), [this](const Link& link) {
    if (::access(link.path.c_str(), F_OK) != 0) return false;
    if (!link.on_cgroup) return true;  // lives as long as our descriptor
    const auto ids = effective_programs(cgroup_.get(), link.attach_type, BPF_F_QUERY_EFFECTIVE);
    return std::find(ids.begin(), ids.end(), link.program_id) != ids.end();
  });
}

Result<> refuse_second_lbd(const std::string& cgroup, const std::string& bpffs) {
  LB_TRY(const UniqueFd fd, open_cgroup(cgroup));
  LB_CHECK(refuse_in(cgroup, BPF_F_QUERY_EFFECTIVE, bpffs));  // here and above
  std::error_code ec;
  for (fs::recursive_directory_iterator it(cgroup, ec), end; !ec && it != end; it.increment(ec))
    if (it->is_directory(ec)) LB_CHECK(refuse_in(it->path(), 0, bpffs));
  return {};
}

std::vector<std::uint32_t> maps_used_by_hook(const std::string& bpffs, const std::string& hook) {
  const UniqueFd link(::bpf_obj_get(fmt::format("{}/links/{}", bpffs, hook).c_str()));
  bpf_link_info info{};
  if (!link || !link_info(link.get(), info)) return {};
  const UniqueFd program(::bpf_prog_get_fd_by_id(info.prog_id));
  bpf_prog_info details{};
  std::vector<std::uint32_t> maps;
  if (!program || !program_info(program.get(), details, &maps)) return {};
  return maps;
}

std::vector<std::string> hook_names_in_detach_order() {
  return {"connect4", "connect6",     "sendmsg4",     "sendmsg6",   "recvmsg4",
          "recvmsg6", "getpeername4", "getpeername6", "retransmit", "state"};
}

Result<std::string> find_cgroup2() {
  // man 5 proc: "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE SUPEROPTIONS"
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream fields(line);
    std::string skip, root, point;
    fields >> skip >> skip >> skip >> root >> point;
    if (root == "/") return point;
  }
  return fail(
      "no cgroup2 mount found in /proc/self/mountinfo: mount one (mount -t cgroup2 none "
      "/sys/fs/cgroup/unified), or set [dataplane] cgroup");
}

}  // namespace lb::bpf
