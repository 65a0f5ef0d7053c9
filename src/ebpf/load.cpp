#include "ebpf/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <vector>

#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "ebpf/links.h"

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kBpffsMagic = 0xcafe4a11;  // linux/magic.h
const std::string kCommonFolder = fmt::format("common_v{}", LB_ABI_VERSION);
const std::string kMapsPrefix = fmt::format("maps_v{}_", LB_ABI_VERSION);

constexpr auto kCurrentMaps = "current_maps";  // a symbolic link

struct NamedMap {
  const char* name;
  bpf_map* map;
};

std::array<NamedMap, 6> sized_maps(lbd& s) {
  return {{{"service_ids", s.maps.service_ids},
           {"services", s.maps.services},
           {"slots", s.maps.slots},
           {"backends", s.maps.backends},
           {"cold", s.maps.cold},
           {"address_ids", s.maps.address_ids}}};
}

std::array<NamedMap, 7> common_maps(lbd& s) {
  return {{{"control", s.maps.control},
           {"tcp_flows", s.maps.tcp_flows},
           {"udp_flows", s.maps.udp_flows},
           {"recount_marks", s.maps.recount_marks},
           {"state_program", s.maps.state_program},
           {"retransmit_prog", s.maps.retransmit_program},
           {"events", s.maps.events}}};
}

// libbpf speaks through a callback; the verifier's words are worth reading only when it refuses.
std::deque<std::string>& libbpf_lines() {
  static std::deque<std::string> lines;
  return lines;
}

int keep_libbpf_line(libbpf_print_level level, const char* format, va_list args) noexcept {
  if (level == LIBBPF_DEBUG) return 0;
  char text[2048];
  std::vsnprintf(text, sizeof text, format, args);
  auto& lines = libbpf_lines();
  for (std::string_view rest = text; !rest.empty();) {
    const auto end = rest.find('\n');
    lines.emplace_back(rest.substr(0, end));
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    if (lines.size() > 20) lines.pop_front();
  }
  return 0;
}

Result<> check_bpffs(const std::string& folder) {
  const fs::path parent = fs::path(folder).parent_path();
  struct statfs info {};
  if (::statfs(parent.c_str(), &info) != 0)
    return fail(errno, fmt::format("bpffs folder {}", parent.string()));
  if (static_cast<std::uint32_t>(info.f_type) != kBpffsMagic)
    return fail(
        fmt::format("{} is not on a bpffs: mount one (mount -t bpf bpf /sys/fs/bpf) and set "
                    "[dataplane] bpffs below it",
                    parent.string()));
  if (::mkdir(folder.c_str(), 0750) != 0 && errno != EEXIST)
    return fail(errno, fmt::format("mkdir {}", folder));
  return {};
}

// Held as long as the programs are ours to write to; a dead owner never blocks.
Result<UniqueFd> lock_folder(const std::string& folder) {
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open {}", folder));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(errno,
                fmt::format("the pin folder {} belongs to an lbd that is running: stop it, or "
                            "choose another with --bpffs (and another --cgroup)",
                            folder));
  return fd;
}

void set_sizes(lbd& s, const Sizes& sizes) {
  bpf_map__set_max_entries(s.maps.service_ids, sizes.max_keys());
  bpf_map__set_max_entries(s.maps.services, sizes.max_services);
  bpf_map__set_max_entries(s.maps.slots, sizes.max_slots);
  bpf_map__set_max_entries(s.maps.backends, sizes.lines());
  bpf_map__set_max_entries(s.maps.cold, sizes.lines());
  bpf_map__set_max_entries(s.maps.address_ids, sizes.max_backends);
}

// Pinned maps of another version mean another program's idea of every struct.
Result<> refuse_other_versions(const std::string& bpffs) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(bpffs, ec)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("common_v") && name != kCommonFolder)
      return fail(
          fmt::format("{} was pinned by an lbd of another version: run its `lbd detach` "
                      "first (connections are kept, and not counted from then on)",
                      entry.path().string()));
  }
  return {};
}

template <std::size_t N>
Result<> reuse(const std::string& folder, const std::array<NamedMap, N>& maps) {
  for (const auto& [name, map] : maps) {
    const std::string path = fmt::format("{}/{}", folder, name);
    const UniqueFd fd(::bpf_obj_get(path.c_str()));
    if (!fd) return fail(errno, fmt::format("open pinned map {}", path));
    if (const int rc = bpf_map__reuse_fd(map, fd.get()); rc != 0)
      return fail(-rc, fmt::format("reuse pinned map {}", path));
  }
  return {};
}

template <std::size_t N>
Result<> pin(const std::string& folder, const std::array<NamedMap, N>& maps) {
  const std::string filling = fmt::format("{}_new_{}", folder, ::getpid());
  fs::remove_all(filling);
  if (::mkdir(filling.c_str(), 0750) != 0) return fail(errno, fmt::format("mkdir {}", filling));
  for (const auto& [name, map] : maps) {
    const std::string path = fmt::format("{}/{}", filling, name);
    if (::bpf_obj_pin(bpf_map__fd(map), path.c_str()) != 0)
      return fail(errno, fmt::format("pin map {}", path));
    ::chmod(path.c_str(), 0640);
  }
  if (::rename(filling.c_str(), folder.c_str()) != 0)
    return fail(errno, fmt::format("rename {} to {}", filling, folder));
  return {};
}

// N of maps_v1_N, highest last.
std::vector<std::uint32_t> map_folders(const std::string& bpffs) {
  std::vector<std::uint32_t> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(bpffs, ec)) {
    const std::string name = entry.path().filename();
    std::uint32_t n = 0;
    if (!name.starts_with(kMapsPrefix)) continue;
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + kMapsPrefix.size(), end, n).ptr == end) out.push_back(n);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// After a crash in the middle of a move there are two: the link says which one was in force.
std::optional<std::uint32_t> current_maps(const std::string& bpffs) {
  const auto folders = map_folders(bpffs);
  if (folders.empty()) return std::nullopt;
  std::error_code ec;
  const std::string current = fs::read_symlink(bpffs + "/" + kCurrentMaps, ec);
  for (const auto n : folders)
    if (current == fmt::format("{}{}", kMapsPrefix, n)) return n;
  return folders.back();
}

Result<> point_to(const std::string& bpffs, const std::string& maps_folder) {
  const std::string link = bpffs + "/" + kCurrentMaps, fresh = link + "_new";
  ::unlink(fresh.c_str());
  if (::symlink(fs::path(maps_folder).filename().c_str(), fresh.c_str()) != 0 ||
      ::rename(fresh.c_str(), link.c_str()) != 0)
    return fail(errno, fmt::format("point {} to {}", link, maps_folder));
  return {};
}

std::uint32_t pinned_entries(const std::string& path) {
  const UniqueFd fd(::bpf_obj_get(path.c_str()));
  bpf_map_info info{};
  std::uint32_t length = sizeof info;
  if (!fd || ::bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0) return 0;
  return info.max_entries;
}

Sizes pinned_sizes(const std::string& folder) {
  return {.max_services = pinned_entries(folder + "/services"),
          .max_backends = pinned_entries(folder + "/address_ids"),
          .max_slots = pinned_entries(folder + "/slots")};
}

UniqueFd duplicate(const bpf_map* map) { return UniqueFd(::dup(bpf_map__fd(map))); }
UniqueFd duplicate(const std::string& path) { return UniqueFd(::bpf_obj_get(path.c_str())); }

// `open(name)` gives the descriptor of a map.
template <class Open>
Result<Maps> open_maps(const Sizes& sizes, Open open) {
  LB_TRY(auto services, MappedArray<lb_service>::map(open("services"), sizes.max_services));
  LB_TRY(auto slots, MappedArray<std::uint64_t>::map(open("slots"), sizes.max_slots));
  LB_TRY(auto backends, MappedArray<lb_backend>::map(open("backends"), sizes.lines()));
  LB_TRY(auto cold, MappedArray<lb_backend_cold>::map(open("cold"), sizes.lines()));
  LB_TRY(auto control, MappedArray<lb_control>::map(open("control"), 1));
  return Maps{AddressMap(open("service_ids"), "service_ids"),
              std::move(services),
              std::move(slots),
              std::move(backends),
              std::move(cold),
              AddressMap(open("address_ids"), "address_ids"),
              std::move(control)};
}

Result<Maps> maps_of(lbd& s, const Sizes& sizes) {
  return open_maps(sizes, [&s](std::string_view name) {
    for (const auto& [known, map] : sized_maps(s))
      if (name == known) return duplicate(map);
    return duplicate(s.maps.control);
  });
}

Result<Maps> maps_in(const std::string& bpffs, const std::string& folder, const Sizes& sizes) {
  return open_maps(sizes, [&](std::string_view name) {
    return duplicate(name == "control" ? fmt::format("{}/{}/control", bpffs, kCommonFolder)
                                       : fmt::format("{}/{}", folder, name));
  });
}

Result<Skeleton> open_skeleton(const Options& options) {
  libbpf_set_print(keep_libbpf_line);
  Skeleton skeleton(lbd::open(nullptr));
  if (!skeleton) return fail(errno, "open the BPF programs");
  set_sizes(*skeleton, options.sizes);
  if (options.host_scope) {
    LB_TRY(skeleton->rodata->lb_netns_cookie, own_netns_cookie());
  }
  if (options.bpffs.size() >= LB_PIN_FOLDER_MAX)
    return fail(ENAMETOOLONG, fmt::format("[dataplane] bpffs {}", options.bpffs));
  std::memcpy(const_cast<char*>(skeleton->rodata->lb_pin_folder), options.bpffs.c_str(),
              options.bpffs.size());
  return skeleton;
}

Result<> load_programs(lbd& skeleton) {
  libbpf_lines().clear();
  const int rc = lbd::load(&skeleton);
  if (rc == 0) return {};
  for (const auto& line : libbpf_lines()) spdlog::error("libbpf: {}", line);
  return fail(-rc, rc == -EPERM
                       ? "load the BPF programs (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are "
                         "needed; `lbctl doctor` tells more)"
                       : "load the BPF programs (`lbctl doctor` tells which hook is missing)");
}

}  // namespace

void SkeletonDeleter::operator()(lbd* skeleton) const { lbd::destroy(skeleton); }

Result<std::uint64_t> own_netns_cookie() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "socket");
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  constexpr int kNetnsCookie = 71;  // SO_NETNS_COOKIE, Linux 5.14; not in Debian 12's libc
  if (::getsockopt(fd.get(), SOL_SOCKET, kNetnsCookie, &cookie, &length) != 0)
    return fail(errno, "getsockopt SO_NETNS_COOKIE");
  return cookie;
}

Result<Loaded> load(const Options& options) {
  LB_CHECK(check_bpffs(options.bpffs));
  LB_TRY(UniqueFd lock, lock_folder(options.bpffs));
  LB_CHECK(refuse_other_versions(options.bpffs));
  LB_TRY(Skeleton skeleton, open_skeleton(options));

  const std::string common = fmt::format("{}/{}", options.bpffs, kCommonFolder);
  const bool has_common = fs::exists(common);
  if (has_common) LB_CHECK(reuse(common, common_maps(*skeleton)));

  const auto current = has_common ? current_maps(options.bpffs) : std::nullopt;
  const auto folder_of = [&](std::uint32_t n) {
    return fmt::format("{}/{}{}", options.bpffs, kMapsPrefix, n);
  };
  const Sizes before = current ? pinned_sizes(folder_of(*current)) : Sizes{};
  const bool moves = current.has_value() && before != options.sizes;
  const std::string current_folder = current ? folder_of(*current) : std::string();
  if (current && !moves) LB_CHECK(reuse(current_folder, sized_maps(*skeleton)));
  LB_CHECK(load_programs(*skeleton));
  if (!has_common) LB_CHECK(pin(common, common_maps(*skeleton)));

  LB_TRY(Maps maps, maps_of(*skeleton, options.sizes));
  Loaded out{std::move(lock), std::move(skeleton), std::move(maps), std::nullopt, ""};
  if (moves) {
    LB_TRY(Maps former, maps_in(options.bpffs, current_folder, before));
    LB_TRY(Copied copied, copy_state(former, out.maps));
    out.former = Loaded::Former{std::move(former), std::move(copied)};
  }
  const auto folders = map_folders(options.bpffs);
  out.maps_folder =
      current && !moves ? current_folder : folder_of(folders.empty() ? 1 : folders.back() + 1);
  if (!current || moves) LB_CHECK(pin(out.maps_folder, sized_maps(*out.skeleton)));
  return out;
}

Result<> finish_move(const Options& options, Loaded& loaded) {
  if (loaded.former) {
    LB_CHECK(wait_for_grace_period());  // until the former programs count no more
    add_what_came_since(loaded.former->copied, loaded.former->maps, loaded.maps);
  }
  loaded.former.reset();
  LB_CHECK(point_to(options.bpffs, loaded.maps_folder));
  for (const auto n : map_folders(options.bpffs)) {
    const std::string folder = fmt::format("{}/{}{}", options.bpffs, kMapsPrefix, n);
    std::error_code ec;
    if (folder != loaded.maps_folder) fs::remove_all(folder, ec);
    if (ec) return fail(ec, fmt::format("remove {}", folder));
  }
  return {};
}

Result<> remove_pins(const std::string& bpffs) {
  std::error_code ec;
  if (!fs::exists(bpffs, ec)) return {};
  LB_TRY(const UniqueFd lock, lock_folder(bpffs));
  // Connects first: what is steered must be counted, and seen under its service's address.
  for (const auto& name : hook_names_in_detach_order())
    fs::remove(fmt::format("{}/links/{}", bpffs, name), ec);
  fs::remove_all(bpffs, ec);
  if (ec) return fail(ec, fmt::format("remove {}", bpffs));
  return {};
}

}  // namespace lb::bpf
