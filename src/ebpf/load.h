// Loading the programs with their maps, and the folder under bpffs in which they are pinned:
//
//   BPFFS/common_v1/    what has no size of its own: storages, program arrays, ring, control
//   BPFFS/maps_v1_N/    the sized maps; N grows with each change of size
//   BPFFS/current_maps  a symbolic link to the one of them that the hooks use
//   BPFFS/links/        one link per hook
//   BPFFS/stubs/        the programs of the tracepoints' links
//
// Folders of maps are filled under another name and renamed, so that a half-filled one is never met.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "ebpf/maps.h"
#include "ebpf/move.h"
#include "ebpf/programs.h"

namespace lb::bpf {

struct Loaded {
  UniqueFd lock;  // on the folder: keep it as long as the maps are written
  Skeleton skeleton;
  Maps maps;
  // The maps that were in force before, when the sizes have changed: to be dropped by finish_move()
  // once the hooks use the new ones.
  struct Former {
    Maps maps;
    Copied copied;
  };
  std::optional<Former> former;
  std::string maps_folder;
  Refusals refused;  // hooks that the kernel refuses; whatever is not here is loaded
};

// Creates or takes over the maps and loads the programs that the kernel accepts; attaches nothing. When
// the sizes differ from those of the pinned maps the content is copied into new maps beside them.
[[nodiscard]] Result<Loaded> load(const Options& options);

// After the hooks were switched: what was counted in the former maps since the copy is added, and
// every maps folder but the current one removed.
[[nodiscard]] Result<> finish_move(const Options& options, Loaded& loaded);

// Whether `folder` can be made, or is, on a bpffs.
[[nodiscard]] Result<> check_bpffs(const std::string& folder);

// Pins again what was unpinned of the maps, in their folders, which are made where they are gone; how much that was. `lock` becomes that
// of the folder that stands there now.
[[nodiscard]] Result<std::size_t> put_back_pins(const std::string& bpffs, lbd& skeleton,
                                                const std::string& maps_folder, UniqueFd& lock);

// Unpins everything under `bpffs`, hooks first. Succeeds when there is nothing.
[[nodiscard]] Result<> remove_pins(const std::string& bpffs);

}  // namespace lb::bpf
