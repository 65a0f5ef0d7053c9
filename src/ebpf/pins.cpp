#include "ebpf/pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <lbd.skel.h>

#include "base/own_folder.h"
#include "ebpf/kernel_objects.h"

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

bool has_map(const std::string& path, int map_fd) {
  const UniqueFd pinned(::bpf_obj_get(path.c_str()));
  return pinned && map_id(pinned.get()) == map_id(map_fd);
}

// Programs of the pinned links.
std::deque<std::uint32_t> linked_programs(const std::string& bpffs) {
  std::deque<std::uint32_t> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(bpffs + "/links", ec)) {
    const UniqueFd link(::bpf_obj_get(entry.path().c_str()));
    bpf_link_info info{};
    if (link && link_info(link.get(), info)) out.push_back(info.prog_id);
  }
  return out;
}

// The maps that these programs use, and those of the programs that they call through program arrays; by name.
std::map<std::string, UniqueFd> maps_in_use(std::deque<std::uint32_t> programs) {
  std::map<std::string, UniqueFd> out;
  for (std::set<std::uint32_t> seen; !programs.empty(); programs.pop_front()) {
    if (!seen.insert(programs.front()).second) continue;
    const UniqueFd program(::bpf_prog_get_fd_by_id(programs.front()));
    bpf_prog_info info{};
    std::vector<std::uint32_t> ids;
    if (!program || !program_info(program.get(), info, &ids)) continue;
    for (const std::uint32_t id : ids) {
      UniqueFd map(::bpf_map_get_fd_by_id(id));
      bpf_map_info about{};
      std::uint32_t length = sizeof about;
      if (!map || ::bpf_obj_get_info_by_fd(map.get(), &about, &length) != 0) continue;
      const std::uint32_t zero = 0;
      std::uint32_t callee = 0;
      if (about.type == BPF_MAP_TYPE_PROG_ARRAY &&
          ::bpf_map_lookup_elem(map.get(), &zero, &callee) == 0)
        programs.push_back(callee);
      out.insert_or_assign(about.name, std::move(map));
    }
  }
  return out;
}

}  // namespace

Result<> pin_at(int fd, const std::string& path) {
  ::unlink(path.c_str());
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return fail(errno, fmt::format("pin {}", path));
  ::chmod(path.c_str(), 0640);
  return {};
}

Result<> make_pin_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0750) != 0 && errno != EEXIST)
    return fail(errno, fmt::format("mkdir {}", path));
  return check_own_folder(path);
}

std::array<NamedMap, 7> sized_maps(lbd& s) {
  return {{{"service_ids", s.maps.service_ids, true},
           {"service_ports", s.maps.service_ports, false},
           {"services", s.maps.services, true},
           {"slots", s.maps.slots, true},
           {"backends", s.maps.backends, true},
           {"cold", s.maps.cold, true},
           {"address_ids", s.maps.address_ids, true}}};
}

std::array<NamedMap, 8> common_maps(lbd& s) {
  return {{{"control", s.maps.control, false},
           {"tcp_flows", s.maps.tcp_flows, true},
           {"udp_flows", s.maps.udp_flows, true},
           {"recount_marks", s.maps.recount_marks, false},
           {"state_program", s.maps.state_program, false},
           {"retransmit_prog", s.maps.retransmit_program, false},
           {"events", s.maps.events, false},
           {"own_cgroups", s.maps.own_cgroups, false}}};
}

Result<std::size_t> pin_again(const std::string& folder, std::span<const NamedMap> maps) {
  std::size_t pinned = 0;
  for (const NamedMap& each : maps) {
    const std::string path = fmt::format("{}/{}", folder, each.name);
    const int fd = bpf_map__fd(each.map);
    if (fd < 0 || has_map(path, fd)) continue;
    LB_CHECK(make_pin_folder(folder));
    LB_CHECK(pin_at(fd, path));
    ++pinned;
  }
  return pinned;
}

Result<UniqueFd> lock_folder(const std::string& folder) {
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open {}", folder));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(errno,
                fmt::format("the pin folder {} belongs to an lbd that is running: stop it, or "
                            "choose another with --bpffs (and another --cgroup)",
                            folder));
  return fd;
}

bool is_locked_by(const UniqueFd& lock, const std::string& folder) {
  struct stat ours {
  }, there{};
  return ::fstat(lock.get(), &ours) == 0 && ::stat(folder.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

Result<std::size_t> complete_from_what_runs(const std::string& bpffs, const std::string& folder,
                                            const std::vector<std::string>& missing) {
  const auto in_use = maps_in_use(linked_programs(bpffs));
  std::size_t found = 0;
  for (const std::string& name : missing) {
    const auto it = in_use.find(name);
    if (it == in_use.end()) continue;
    LB_CHECK(make_pin_folder(folder));
    LB_CHECK(pin_at(it->second.get(), fmt::format("{}/{}", folder, name)));
    ++found;
  }
  return found;
}

}  // namespace lb::bpf
