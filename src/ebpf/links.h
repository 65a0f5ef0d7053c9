// The hooks: attaching the programs to the cgroup and the tracepoints, taking over what an earlier lbd
// attached, noticing what somebody removed. Other programs' links are never touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

struct lbd;  // the generated skeleton

namespace lb::bpf {

class Links {
 public:
  // Makes every hook run the programs of `skeleton`: an existing link is updated in place (atomic, no
  // connect is missed), a missing one is made and pinned under BPFFS/links. Recount afterwards: while a
  // link was missing connections went uncounted.
  [[nodiscard]] static Result<Links> attach(lbd& skeleton, const std::string& cgroup,
                                            const std::string& bpffs);

  // Looks whether all hooks are still in force and pinned; false: call attach() again and recount.
  [[nodiscard]] bool intact() const;

 private:
  struct Link {
    std::string path;
    UniqueFd fd;
    std::uint32_t program_id = 0;
    int attach_type = 0;  // enum bpf_attach_type
    bool on_cgroup = false;
  };
  UniqueFd cgroup_;
  std::vector<Link> links_;
};

// An error that names the pin folder of another lbd whose programs run for sockets of this cgroup, or
// of one below it. One lbd per cgroup subtree: two would steer each connection twice.
[[nodiscard]] Result<> refuse_second_lbd(const std::string& cgroup, const std::string& bpffs);

// Ids of the maps that the program behind a pinned hook uses; empty when there is none.
[[nodiscard]] std::vector<std::uint32_t> maps_used_by_hook(const std::string& bpffs,
                                                           const std::string& hook);

[[nodiscard]] std::vector<std::string> hook_names_in_detach_order();

// The root of the cgroup2 mount of this mount namespace, from /proc/self/mountinfo.
[[nodiscard]] Result<std::string> find_cgroup2();

}  // namespace lb::bpf
