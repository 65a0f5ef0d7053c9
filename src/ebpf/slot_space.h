// Which parts of the slot array are free. Regions that were just replaced rest in quarantine until
// no hook can be reading them.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

namespace lb::bpf {

using Clock = std::chrono::steady_clock;

struct Region {
  std::uint32_t base = 0;
  std::uint32_t count = 0;

  auto operator<=>(const Region&) const = default;
};

class SlotSpace {
 public:
  explicit SlotSpace(std::uint32_t slots);

  // Takes a region that is in use already (found in the kernel at start). False: it overlaps.
  bool reserve(Region region);
  // First fit; nullopt when no free region is large enough.
  std::optional<Region> take(std::uint32_t count);
  // `now` is when the last hook may have started to use it.
  void retire(Region region, Clock::time_point now);
  // Frees what was retired at or before `until`.
  void release(Clock::time_point until);

  [[nodiscard]] std::uint32_t used() const { return used_; }  // quarantine included

 private:
  struct Retired {
    Region region;
    Clock::time_point since;
  };
  void give_back(Region region);

  std::map<std::uint32_t, std::uint32_t> free_;  // base -> count; neighbours are merged
  std::deque<Retired> quarantine_;               // in order of time
  std::uint32_t used_ = 0;
};

}  // namespace lb::bpf
