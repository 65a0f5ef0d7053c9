#include "ebpf/own_cgroups.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>

#include <cerrno>

#include <fmt/format.h>
#include <lbd.skel.h>

#include "ebpf/kernel_objects.h"

namespace lb::bpf {
namespace {

std::set<std::uint64_t> ids_in(int map) {
  std::set<std::uint64_t> out;
  std::uint64_t key = 0, next = 0;
  for (const std::uint64_t* at = nullptr; ::bpf_map_get_next_key(map, at, &next) == 0; at = &key) {
    key = next;
    out.insert(key);
  }
  return out;
}

// A cgroup's id is the inode of its folder.
Result<std::set<std::uint64_t>> ids_of(const std::vector<std::string>& names) {
  std::set<std::uint64_t> out;
  if (names.empty()) return out;
  LB_TRY(const std::string root, find_cgroup2());
  for (const std::string& name : names) {
    struct stat folder {};
    if (::stat(fmt::format("{}/{}", root, name).c_str(), &folder) == 0) out.insert(folder.st_ino);
  }
  return out;
}

}  // namespace

Result<std::size_t> OwnCgroups::follow() {
  const int map = bpf_map__fd(skeleton_->maps.own_cgroups);
  if (!std::exchange(read_, true)) known_ = ids_in(map);
  LB_TRY(const std::set<std::uint64_t> now, ids_of(names_));
  if (now == known_) return 0;
  std::size_t changed = 0;
  for (const std::uint64_t id : std::set(known_)) {
    if (now.contains(id)) continue;
    if (::bpf_map_delete_elem(map, &id) != 0 && errno != ENOENT)
      return fail(errno, fmt::format("forget cgroup {}", id));
    known_.erase(id);
    ++changed;
  }
  const std::uint32_t yes = 1;
  for (const std::uint64_t id : now) {
    if (known_.contains(id)) continue;
    if (::bpf_map_update_elem(map, &id, &yes, BPF_ANY) != 0)
      return fail(errno, fmt::format("leave cgroup {} alone", id));
    known_.insert(id);
    ++changed;
  }
  return changed;
}

}  // namespace lb::bpf
