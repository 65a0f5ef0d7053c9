// The pinned maps: which must stand where. Pins again what was unpinned while lbd runs, and completes at a start what is missing from
// what still runs.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

struct lbd;  // the generated skeleton
struct bpf_map;

namespace lb::bpf {

// Pins the object there, instead of what is there.
[[nodiscard]] Result<> pin_at(int fd, const std::string& path);
// It may be there, but not as one in which others could put pins.
[[nodiscard]] Result<> make_pin_folder(const std::string& path);

struct NamedMap {
  const char* name;
  bpf_map* map;
  // What is in it cannot be had otherwise: connections would be counted wrong, or be seen under a wrong address. The others are made
  // again where they are missing.
  bool remembers;
};

[[nodiscard]] std::array<NamedMap, 7> sized_maps(lbd& skeleton);
[[nodiscard]] std::array<NamedMap, 8> common_maps(lbd& skeleton);

// Pins those of the maps that are not pinned in `folder`, or under whose name another one is; the folder is made if need be. How many.
[[nodiscard]] Result<std::size_t> pin_again(const std::string& folder,
                                            std::span<const NamedMap> maps);

// Held as long as the programs are ours to write to; a dead owner never blocks.
[[nodiscard]] Result<UniqueFd> lock_folder(const std::string& folder);
// False: the folder is another one by now, made after the locked one was removed, or on a bpffs that was mounted over it.
[[nodiscard]] bool is_locked_by(const UniqueFd& lock, const std::string& folder);

// Pins what is missing of these maps in `folder` from the maps that the programs of the pinned links under `bpffs` use. Needs
// CAP_SYS_ADMIN where something is missing. How many were found.
[[nodiscard]] Result<std::size_t> complete_from_what_runs(const std::string& bpffs,
                                                          const std::string& folder,
                                                          const std::vector<std::string>& missing);

}  // namespace lb::bpf
