#include "ebpf/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <vector>

#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

#include "ebpf/links.h"
#include "ebpf/pins.h"

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kBpffsMagic = 0xcafe4a11;  // linux/magic.h
const std::string kCommonFolder = fmt::format("common_v{}", LB_ABI_VERSION);
const std::string kMapsPrefix = fmt::format("maps_v{}_", LB_ABI_VERSION);

constexpr auto kCurrentMaps = "current_maps";  // a symbolic link

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
  for (const auto& [name, map, remembers] : maps) {
    const std::string path = fmt::format("{}/{}", folder, name);
    const UniqueFd fd(::bpf_obj_get(path.c_str()));
    if (!fd && !remembers) continue;  // a new one is as good, and pinned in its place
    if (!fd) return fail(errno, fmt::format("open pinned map {}", path));
    if (const int rc = bpf_map__reuse_fd(map, fd.get()); rc != 0)
      return fail(-rc, fmt::format("reuse pinned map {}", path));
  }
  return {};
}

template <std::size_t N>
Result<> pin_all(const std::string& folder, const std::array<NamedMap, N>& maps) {
  const std::string filling = fmt::format("{}_new_{}", folder, ::getpid());
  fs::remove_all(filling);
  if (::mkdir(filling.c_str(), 0750) != 0) return fail(errno, fmt::format("mkdir {}", filling));
  for (const auto& [name, map, remembers] : maps) {
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
  std::optional<MappedArray<std::uint64_t>> ports;
  if (const UniqueFd fd = open("service_ports"); fd) {
    LB_TRY(ports, MappedArray<std::uint64_t>::map(fd, LB_PORT_WORDS));
  }
  return Maps{AddressMap(open("service_ids"), "service_ids"),
              std::move(services),
              std::move(slots),
              std::move(backends),
              std::move(cold),
              AddressMap(open("address_ids"), "address_ids"),
              std::move(control),
              std::move(ports)};
}

Result<Maps> maps_of(lbd& s, const Sizes& sizes) {
  return open_maps(sizes, [&s](std::string_view name) {
    for (const auto& [known, map, remembers] : sized_maps(s))
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

// Connects first: what is steered must be counted, and seen under its service's address.
Result<> clear_pins(const std::string& bpffs) {
  std::error_code ec;
  for (const auto& name : hook_names_in_detach_order())
    fs::remove(fmt::format("{}/links/{}", bpffs, name), ec);
  for (const auto& entry : fs::directory_iterator(bpffs, ec)) {
    fs::remove_all(entry.path(), ec);
    if (ec) return fail(ec, fmt::format("remove {}", entry.path().string()));
  }
  return {};
}

// Which maps must be in the folders, by an object that is never loaded.
template <std::size_t N>
std::vector<std::string> absent(const std::string& folder, const std::array<NamedMap, N>& maps) {
  std::vector<std::string> out;
  for (const NamedMap& each : maps)
    if (!UniqueFd(::bpf_obj_get(fmt::format("{}/{}", folder, each.name).c_str())) && each.remembers)
      out.emplace_back(each.name);
  return out;
}

// Somebody has removed pins while no lbd ran. What the hooks still use is pinned again; where that is not all, hooks
// and maps are of no more use to each other, and all begins afresh.
Result<> complete_folders(const Options& options) {
  const std::string& bpffs = options.bpffs;
  std::error_code ec;
  if (fs::is_empty(bpffs, ec)) return {};  // the first start
  LB_TRY(Skeleton names, open_programs(options, {}));
  const std::string common = fmt::format("{}/{}", bpffs, kCommonFolder);
  const std::string sized =
      fmt::format("{}/{}{}", bpffs, kMapsPrefix, current_maps(bpffs).value_or(1));
  std::vector<std::string> lost;
  std::size_t found = 0;
  for (const std::string* folder : {&common, &sized}) {
    const auto look = [&] {
      return folder == &common ? absent(common, common_maps(*names))
                               : absent(sized, sized_maps(*names));
    };
    LB_TRY(const std::size_t here, complete_from_what_runs(bpffs, *folder, look()));
    found += here;
    for (const std::string& name : look()) lost.push_back(name);
  }
  if (found > 0)
    spdlog::warn(
        "dataplane=ebpf {} maps were unpinned from {}, and are pinned again: the hooks "
        "still have them",
        found, bpffs);
  if (lost.empty()) return {};
  spdlog::warn(
      "dataplane=ebpf {} lacks the map {} ({} in all), which nothing uses any more: hooks "
      "and maps begin afresh; connections are kept, and not counted from now on",
      bpffs, lost.front(), lost.size());
  return clear_pins(bpffs);
}

// Maps are taken over from these folders, where they are not "".
Result<Skeleton> open_on(const Options& options, const std::string& common,
                         const std::string& sized, const Refusals& refused) {
  LB_TRY(Skeleton skeleton, open_programs(options, refused));
  if (!common.empty()) LB_CHECK(reuse(common, common_maps(*skeleton)));
  if (!sized.empty()) LB_CHECK(reuse(sized, sized_maps(*skeleton)));
  return skeleton;
}

// An object that failed to load is of no further use: the second attempt, without what the kernel
// refuses, opens another one.
Result<Skeleton> load_what_is_accepted(const Options& options, const std::string& common,
                                       const std::string& sized, Refusals& refused) {
  if (options.refuse.empty()) {
    LB_TRY(Skeleton skeleton, open_on(options, common, sized, refused));
    const Result<> loaded = load_programs(*skeleton);
    if (loaded) return skeleton;
    // Too large for this machine: the programs are not to blame.
    if (loaded.error().code == std::errc::not_enough_memory ||
        loaded.error().code == std::errc::argument_list_too_long)
      return fail(ENOSPC, fmt::format("create the maps ({}): lower [dataplane] max_services, "
                                      "max_backends or max_slots",
                                      loaded.error().code.message()));
  }
  LB_TRY(refused, find_refused(options, {}));
  LB_TRY(Skeleton skeleton, open_on(options, common, sized, refused));
  LB_CHECK(load_programs(*skeleton));
  return skeleton;
}

}  // namespace

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
  return {};
}

Result<Loaded> load(const Options& options) {
  LB_CHECK(check_bpffs(options.bpffs));
  LB_CHECK(make_pin_folder(options.bpffs));
  LB_TRY(UniqueFd lock, lock_folder(options.bpffs));
  LB_CHECK(refuse_other_versions(options.bpffs));
  LB_CHECK(complete_folders(options));

  const std::string common = fmt::format("{}/{}", options.bpffs, kCommonFolder);
  const bool has_common = fs::exists(common);
  const auto current = has_common ? current_maps(options.bpffs) : std::nullopt;
  const auto folder_of = [&](std::uint32_t n) {
    return fmt::format("{}/{}{}", options.bpffs, kMapsPrefix, n);
  };
  const Sizes before = current ? pinned_sizes(folder_of(*current)) : Sizes{};
  const bool moves = current.has_value() && before != options.sizes;
  const std::string current_folder = current ? folder_of(*current) : std::string();
  Refusals refused;
  LB_TRY(Skeleton skeleton,
         load_what_is_accepted(options, has_common ? common : "",
                               current && !moves ? current_folder : "", refused));
  if (!has_common) LB_CHECK(pin_all(common, common_maps(*skeleton)));
  LB_CHECK(pin_again(common, common_maps(*skeleton)));  // what was missing, and made again

  LB_TRY(Maps maps, maps_of(*skeleton, options.sizes));
  Loaded out{std::move(lock),   std::move(skeleton), std::move(maps), std::nullopt, "",
             std::move(refused)};
  if (moves) {
    LB_TRY(Maps former, maps_in(options.bpffs, current_folder, before));
    LB_TRY(Copied copied, copy_state(former, out.maps));
    out.former = Loaded::Former{std::move(former), std::move(copied)};
  }
  // Before the hooks look there.
  LB_CHECK(mark_ports(out.maps));
  forget_foreign_lines(out.maps);
  const auto folders = map_folders(options.bpffs);
  out.maps_folder =
      current && !moves ? current_folder : folder_of(folders.empty() ? 1 : folders.back() + 1);
  if (!current || moves) LB_CHECK(pin_all(out.maps_folder, sized_maps(*out.skeleton)));
  LB_CHECK(
      pin_again(out.maps_folder, sized_maps(*out.skeleton)));  // what an earlier version had not
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
  LB_CHECK(clear_pins(bpffs));
  fs::remove(bpffs, ec);
  if (ec) return fail(ec, fmt::format("remove {}", bpffs));
  return {};
}

Result<std::size_t> put_back_pins(const std::string& bpffs, lbd& skeleton,
                                  const std::string& maps_folder, UniqueFd& lock) {
  LB_CHECK(check_bpffs(bpffs));
  LB_CHECK(make_pin_folder(bpffs));
  if (!is_locked_by(lock, bpffs)) {
    LB_TRY(lock, lock_folder(bpffs));
  }
  LB_TRY(const std::size_t common,
         pin_again(fmt::format("{}/{}", bpffs, kCommonFolder), common_maps(skeleton)));
  LB_TRY(const std::size_t sized, pin_again(maps_folder, sized_maps(skeleton)));
  std::error_code ec;
  const auto current = fs::read_symlink(bpffs + "/" + kCurrentMaps, ec);
  if (current == fs::path(maps_folder).filename()) return common + sized;
  LB_CHECK(point_to(bpffs, maps_folder));
  return common + sized + 1;
}

}  // namespace lb::bpf
