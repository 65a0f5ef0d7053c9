// The hooks: attaching the programs to the cgroup and the tracepoints, taking over what an earlier lbd
// attached, noticing what was removed. Other programs' links are never touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ebpf/hooks.h"

struct lbd;  // the generated skeleton

namespace lb::bpf {

struct HookProgram;

class Links {
 public:
  // Makes every hook run the programs of `skeleton`: an existing link is updated in place (atomic, no
  // connect is missed), a missing one is made and pinned under BPFFS/links. Recount afterwards: while a
  // link was missing connections went uncounted. A hook in `refused` is left out, and what an earlier
  // lbd attached there removed; one that cannot be attached is added to it, unless lbd cannot do without.
  [[nodiscard]] static Result<Links> attach(lbd& skeleton, const std::string& cgroup,
                                            const std::string& bpffs, Refusals& refused);

  // Looks whether all hooks are still in force and pinned, on the cgroup that stands at the path now; false: repair() and recount.
  [[nodiscard]] bool intact() const;
  // How many events the tracepoints have missed since they were attached: the kernel (6.2 and later)
  // skips a program that is running on that CPU already, as when an interrupt closes a connection just
  // while another one is counted. Each may leave a count wrong: recount when this has grown.
  [[nodiscard]] std::uint64_t missed_events() const;
  // Puts back what was removed, and pins again what runs but was unpinned. A cgroup that was removed and made again is opened again.
  [[nodiscard]] Result<> repair(lbd& skeleton, const std::string& bpffs);

 private:
  struct Link {
    std::string name;
    std::string path;  // of the pinned link
    std::string stub;  // of the pinned program, for tracepoints
    UniqueFd fd;
    UniqueFd stub_fd;
    std::uint32_t program_id = 0;
    int attach_type = 0;  // enum bpf_attach_type
    bool on_cgroup = false;
    // Tracepoints: the program array of the skeleton's through which the stub calls, and what must be in it.
    int calls = -1;
    std::uint32_t callee_id = 0;
  };
  [[nodiscard]] Result<Link> attach_one(const HookProgram& hook, const std::string& bpffs) const;
  [[nodiscard]] bool in_force(const Link& link) const;
  [[nodiscard]] bool is_pinned(const Link& link) const;
  [[nodiscard]] bool has_cgroup() const;
  [[nodiscard]] Result<> follow_cgroup();
  [[nodiscard]] Result<> repair_one(const HookProgram& hook, Link& link) const;
  std::string cgroup_path_;
  UniqueFd cgroup_;
  std::vector<Link> links_;
};

[[nodiscard]] std::vector<std::string> hook_names_in_detach_order();

}  // namespace lb::bpf
