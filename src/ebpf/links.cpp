#include "ebpf/links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <lbd.skel.h>

#include "ebpf/kernel_objects.h"
#include "ebpf/pins.h"

namespace lb::bpf {

// In the order of attaching: who counts and who translates back comes before who steers.
struct HookProgram {
  const char* name;  // of its pins
  int attach_type;   // BPF_TRACE_RAW_TP for tracepoints
  bpf_program* program;
  bpf_map* calls;  // tracepoints: the program array through which the stub calls
  bpf_program* callee;
};

namespace {

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

// May the pinned link stay? A cgroup link must lie on our cgroup; a tracepoint's must run the very stub
// that we have, calling through our program array. The stub is pinned too, since opening a program by
// its id needs CAP_SYS_ADMIN.
bool can_take_over(int link_fd, const HookProgram& hook, int cgroup_fd, const std::string& stub) {
  bpf_link_info info{};
  if (!link_info(link_fd, info)) return false;
  if (!hook.calls)
    return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id(cgroup_fd);
  const UniqueFd attached(::bpf_obj_get(stub.c_str()));
  bpf_prog_info theirs{}, ours{};
  std::vector<std::uint32_t> maps;
  return attached && program_info(attached.get(), theirs, &maps) && theirs.id == info.prog_id &&
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

Result<UniqueFd> make_link(const HookProgram& hook, int cgroup_fd, const std::string& path,
                           const std::string& stub) {
  const int program = bpf_program__fd(hook.program);
  UniqueFd fd(hook.calls
                  ? ::bpf_raw_tracepoint_open(nullptr, program)
                  : ::bpf_link_create(program, cgroup_fd,
                                      static_cast<bpf_attach_type>(hook.attach_type), nullptr));
  if (!fd) return fail(errno, fmt::format("attach {}", hook.name));
  LB_CHECK(pin_at(fd.get(), path));
  if (hook.calls) LB_CHECK(pin_at(program, stub));
  return fd;
}

std::uint32_t program_id(const bpf_program* program) {
  bpf_prog_info info{};
  return program_info(bpf_program__fd(program), info) ? info.id : 0;
}

// Why a hook is not to be attached; null: it is.
const Error* refusal_of(const HookProgram& hook, const Refusals& refused) {
  const auto it = refused.find(bpf_program__section_name(hook.program));
  return it == refused.end() ? nullptr : &it->second;
}

}  // namespace

Result<Links::Link> Links::attach_one(const HookProgram& hook, const std::string& bpffs) const {
  Link link{.name = hook.name,
            .path = fmt::format("{}/links/{}", bpffs, hook.name),
            .stub = fmt::format("{}/stubs/{}", bpffs, hook.name),
            .fd = {},
            .stub_fd = {},
            .program_id = program_id(hook.program),
            .attach_type = hook.attach_type,
            .on_cgroup = hook.calls == nullptr,
            .calls = hook.calls ? bpf_map__fd(hook.calls) : -1,
            .callee_id = hook.calls ? lb::bpf::program_id(hook.callee) : 0};
  if (hook.calls) LB_CHECK(store_callee(hook));
  link.fd.reset(::bpf_obj_get(link.path.c_str()));
  if (!link.fd || !can_take_over(link.fd.get(), hook, cgroup_.get(), link.stub)) {
    link.fd.reset();
    ::unlink(link.path.c_str());  // before the new one runs: never two at a time
    LB_TRY(link.fd, make_link(hook, cgroup_.get(), link.path, link.stub));
  } else if (!hook.calls &&
             ::bpf_link_update(link.fd.get(), bpf_program__fd(hook.program), nullptr) != 0) {
    return fail(errno, fmt::format("update the link of {}", hook.name));
  }
  if (hook.calls) link.stub_fd.reset(::bpf_obj_get(link.stub.c_str()));
  return link;
}

Result<Links> Links::attach(lbd& skeleton, const std::string& cgroup, const std::string& bpffs,
                            Refusals& refused) {
  Links out;
  out.cgroup_path_ = cgroup;
  LB_TRY(out.cgroup_, open_cgroup(cgroup));
  LB_CHECK(make_pin_folder(bpffs + "/links"));
  LB_CHECK(make_pin_folder(bpffs + "/stubs"));
  for (const auto& hook : hooks_of(skeleton)) {
    if (!refusal_of(hook, refused)) {
      auto link = out.attach_one(hook, bpffs);
      const std::string section = bpf_program__section_name(hook.program);
      if (link) {
        out.links_.push_back(*std::move(link));
        continue;
      }
      if (const Hook* known = find_hook(section); !known || known->loss == nullptr)
        return tl::unexpected(std::move(link).error());
      refused.emplace(section, std::move(link).error());
    }
    // What status says is lost must not run on: neither by an earlier lbd's program nor by half of ours.
    ::unlink(fmt::format("{}/links/{}", bpffs, hook.name).c_str());
    ::unlink(fmt::format("{}/stubs/{}", bpffs, hook.name).c_str());
  }
  return out;
}

bool Links::in_force(const Link& link) const {
  if (!link.on_cgroup) {  // the link lives as long as our descriptor; what it calls may have been taken out
    const std::uint32_t zero = 0;
    std::uint32_t callee = 0;
    return ::bpf_map_lookup_elem(link.calls, &zero, &callee) == 0 && callee == link.callee_id;
  }
  const auto ids = programs_on(cgroup_.get(), link.attach_type, BPF_F_QUERY_EFFECTIVE);
  return std::find(ids.begin(), ids.end(), link.program_id) != ids.end();
}

bool Links::is_pinned(const Link& link) const {
  const UniqueFd pinned(::bpf_obj_get(link.path.c_str()));
  bpf_link_info ours{}, theirs{};
  return pinned && link_info(link.fd.get(), ours) && link_info(pinned.get(), theirs) &&
         ours.id == theirs.id && (link.on_cgroup || ::access(link.stub.c_str(), F_OK) == 0);
}

// A cgroup that was removed and made again is another one under the same path, and has none of our links.
bool Links::has_cgroup() const {
  struct stat there {};
  return ::stat(cgroup_path_.c_str(), &there) == 0 && there.st_ino == cgroup_id(cgroup_.get());
}

bool Links::intact() const {
  return has_cgroup() && std::all_of(links_.begin(), links_.end(), [this](const Link& link) {
           return in_force(link) && is_pinned(link);
         });
}

std::uint64_t Links::missed_events() const {
  std::uint64_t sum = 0;
  for (const Link& link : links_) {
    bpf_prog_info info{};
    if (link.stub_fd && program_info(link.stub_fd.get(), info)) sum += info.recursion_misses;
  }
  return sum;
}

Result<> Links::follow_cgroup() {
  if (has_cgroup()) return {};
  LB_TRY(cgroup_, open_cgroup(cgroup_path_));
  return {};
}

Result<> Links::repair(lbd& skeleton, const std::string& bpffs) {
  // Without it the tracepoints are put back all the same.
  const Result<> followed = follow_cgroup();
  LB_CHECK(make_pin_folder(bpffs));
  LB_CHECK(make_pin_folder(bpffs + "/links"));
  LB_CHECK(make_pin_folder(bpffs + "/stubs"));
  for (const auto& hook : hooks_of(skeleton)) {
    const auto it = std::find_if(links_.begin(), links_.end(),
                                 [&](const Link& link) { return link.name == hook.name; });
    if (it == links_.end()) continue;  // refused from the beginning
    if (followed || hook.calls) LB_CHECK(repair_one(hook, *it));
  }
  return followed;
}

Result<> Links::repair_one(const HookProgram& hook, Link& link) const {
  if (!in_force(link)) {
    if (hook.calls) {
      LB_CHECK(store_callee(hook));
    } else {
      LB_TRY(link.fd, make_link(hook, cgroup_.get(), link.path, link.stub));
    }
  }
  // A link that runs is pinned again, not made again: two would steer twice for a moment.
  if (is_pinned(link)) return {};
  LB_CHECK(pin_at(link.fd.get(), link.path));
  if (hook.calls && link.stub_fd) LB_CHECK(pin_at(link.stub_fd.get(), link.stub));
  return {};
}

std::vector<std::string> hook_names_in_detach_order() {
  return {"connect4", "connect6",     "sendmsg4",     "sendmsg6",   "recvmsg4",
          "recvmsg6", "getpeername4", "getpeername6", "retransmit", "state"};
}

}  // namespace lb::bpf
