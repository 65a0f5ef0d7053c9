#include "ebpf/neighbours.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "ebpf/kernel_objects.h"

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

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

// Program id -> pin folder, of the lbds that pin beside us.
using Neighbours = std::map<std::uint32_t, std::string>;

Neighbours neighbours_of(const std::string& bpffs) {
  Neighbours out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(fs::path(bpffs).parent_path(), ec)) {
    const UniqueFd link(::bpf_obj_get((entry.path() / "links/connect4").c_str()));
    bpf_link_info info{};
    if (entry.path() != bpffs && link && link_info(link.get(), info))
      out.emplace(info.prog_id, entry.path());
  }
  return out;
}

Result<> refuse_in(const fs::path& cgroup, unsigned flags, const std::string& bpffs,
                   const Neighbours& neighbours) {
  const UniqueFd fd(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return {};  // gone meanwhile
  for (const auto id : programs_on(fd.get(), BPF_CGROUP_INET4_CONNECT, flags)) {
    const auto neighbour = neighbours.find(id);
    const std::string theirs =
        neighbour != neighbours.end() ? neighbour->second : pin_folder_of(id);
    if (!theirs.empty() && theirs != bpffs)
      return fail(EBUSY,
                  fmt::format("another lbd (pinned in {}) serves cgroup {}: stop it and run "
                              "`lbd detach --bpffs {}`, or choose another [dataplane] cgroup",
                              theirs, cgroup.string(), theirs));
  }
  return {};
}

}  // namespace

Result<> refuse_second_lbd(const std::string& cgroup, const std::string& bpffs) {
  LB_TRY(const UniqueFd fd, open_cgroup(cgroup));
  const Neighbours neighbours = neighbours_of(bpffs);
  LB_CHECK(refuse_in(cgroup, BPF_F_QUERY_EFFECTIVE, bpffs, neighbours));  // here and above
  std::error_code ec;
  for (fs::recursive_directory_iterator it(cgroup, ec), end; !ec && it != end; it.increment(ec))
    if (it->is_directory(ec)) LB_CHECK(refuse_in(it->path(), 0, bpffs, neighbours));
  return {};
}

}  // namespace lb::bpf
