// The last good snapshot of each source, on disk, so that a restart has backends before its sources
// answer. Knows nothing of who reads it.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/service.h"

namespace lb {

class SnapshotStore {
 public:
  // The folder is made at the first save.
  explicit SnapshotStore(std::string folder) : folder_(std::move(folder)) {}

  // nullopt: nothing was saved. A broken file is an error, is renamed to *.broken, and is not found
  // the next time.
  [[nodiscard]] Result<std::optional<Snapshot>> load(const std::string& source) const;
  // Atomic: after a crash there is the old snapshot or the new one. Warnings are not saved.
  [[nodiscard]] Result<> save(const std::string& source, const Snapshot& snapshot) const;

  // What was saved as `from` is from now on saved as `to`, unless there is something already.
  [[nodiscard]] Result<> rename(const std::string& from, const std::string& to) const;
  // Removes the snapshots of all other sources. What is *.broken stays.
  [[nodiscard]] Result<> keep_only(const std::set<std::string>& sources) const;

  [[nodiscard]] std::string path_of(const std::string& source) const;

 private:
  std::string folder_;
};

// A source's name as a file name: letters, digits, '-', '_' and inner dots stay, the rest becomes
// %XX; too long a name is cut and told apart by a hash.
[[nodiscard]] std::string escape_file_name(std::string_view name);

}  // namespace lb
