// Which configured source continues which of an earlier configuration, by reload as by restart. A name
// that is made of the first endpoint or of the path changes with it, and the source does not. Pure but
// for load() and save().
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/config.h"

namespace lb {

struct SourceIdentity {
  std::string name;
  std::string type;
  bool derived = false;               // the configuration has no name for it
  std::vector<std::string> locators;  // endpoints, prefixes, path; sorted
  std::string ports;                  // PortRanges as text
  std::string addresses{};            // AddressRanges as text; "": noted by an lbd that had none

  bool operator==(const SourceIdentity&) const = default;
};
using SourceIdentities = std::vector<SourceIdentity>;

[[nodiscard]] SourceIdentity identity_of(const SourceConfig& source, const Config& config);

// For each of `after` the index in `before` of the source that it continues; no index twice. The same
// name comes first, then a locator in common, then the order of those of one type without names.
[[nodiscard]] std::vector<std::optional<std::size_t>> find_predecessors(
    const SourceIdentities& before, const SourceIdentities& after);

// The sources whose snapshots are in state_dir, so that a restart knows what was configured before.
class SourceIndex {
 public:
  explicit SourceIndex(const std::string& state_dir) : path_(state_dir + "/sources.json") {}

  // Empty: there is none. A broken one is an error that names it, and is put aside.
  [[nodiscard]] Result<SourceIdentities> load() const;
  [[nodiscard]] Result<> save(const SourceIdentities& sources) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lb
