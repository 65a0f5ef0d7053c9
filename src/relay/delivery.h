// What a listener hands to its daemon, and what it may acknowledge for that. A value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "relay/intake.h"

namespace lb::relay {

class Delivery {
 public:
  // The state in force as a snapshot; nullopt: nothing that matters has changed since the last one.
  // `again`: also if nothing has, since the daemon was told of an error meanwhile.
  [[nodiscard]] std::optional<Snapshot> next(Intake& intake, std::vector<std::string> warnings,
                                             bool again, SysTime now);
  // All that next() has given out is in the kernel.
  void applied() { unapplied_ = false; }
  // The newest state of the run in force that is in the kernel; also one that changed nothing here.
  [[nodiscard]] std::optional<Position> acknowledged(const Intake& intake) const;

 private:
  std::optional<Snapshot> last_;
  std::optional<std::uint64_t> looked_at_;  // intake's version() then
  std::vector<std::string> warnings_;       // as given then
  std::optional<Position> at_;              // a state that equals the last snapshot
  bool unapplied_ = false;
};

}  // namespace lb::relay
