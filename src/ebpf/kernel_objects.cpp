#include "ebpf/kernel_objects.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace lb::bpf {

bool program_info(int fd, bpf_prog_info& info, std::vector<std::uint32_t>* map_ids) {
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
  constexpr std::uint32_t kCgroup2Magic = 0x63677270;  // linux/magic.h
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open cgroup {}", path));
  struct statfs info {};
  if (::fstatfs(fd.get(), &info) != 0 || static_cast<std::uint32_t>(info.f_type) != kCgroup2Magic)
    return fail(fmt::format("{} is not a folder of cgroup2: set [dataplane] cgroup to one", path));
  return fd;
}

std::vector<std::uint32_t> programs_on(int cgroup_fd, int attach_type, unsigned flags) {
  std::vector<std::uint32_t> ids(64);
  auto count = static_cast<std::uint32_t>(ids.size());
  std::uint32_t attach_flags = 0;
  if (::bpf_prog_query(cgroup_fd, static_cast<bpf_attach_type>(attach_type), flags, &attach_flags,
                       ids.data(), &count) != 0)
    count = 0;
  ids.resize(std::min<std::size_t>(count, ids.size()));
  return ids;
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
