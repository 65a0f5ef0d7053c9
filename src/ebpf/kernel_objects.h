// What the kernel says of its BPF objects and of a cgroup's programs: thin questions by descriptor or id.
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace lb::bpf {

// False when the kernel does not tell. `map_ids`, if wanted: the maps that the program uses.
bool program_info(int fd, bpf_prog_info& info, std::vector<std::uint32_t>* map_ids = nullptr);
bool link_info(int fd, bpf_link_info& info);
std::uint32_t map_id(int fd);  // 0 when the kernel does not tell

// A folder of cgroup2, opened.
[[nodiscard]] Result<UniqueFd> open_cgroup(const std::string& path);
std::uint64_t cgroup_id(int fd);

// Ids of the programs attached to a cgroup; with BPF_F_QUERY_EFFECTIVE those of its ancestors too.
std::vector<std::uint32_t> programs_on(int cgroup_fd, int attach_type, unsigned flags);

// The root of the cgroup2 mount of this mount namespace, from /proc/self/mountinfo.
[[nodiscard]] Result<std::string> find_cgroup2();

}  // namespace lb::bpf
