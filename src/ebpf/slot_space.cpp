#include "ebpf/slot_space.h"

#include <iterator>

namespace lb::bpf {

SlotSpace::SlotSpace(std::uint32_t slots) { free_[0] = slots; }

bool SlotSpace::reserve(Region region) {
  if (region.count == 0) return true;
  auto it = free_.upper_bound(region.base);
  if (it == free_.begin()) return false;
  --it;
  const auto [base, count] = *it;
  const std::uint64_t end = std::uint64_t{base} + count;
  const std::uint64_t region_end = std::uint64_t{region.base} + region.count;
  if (region_end > end) return false;
  free_.erase(it);
  if (region.base > base) free_[base] = region.base - base;
  if (region_end < end)
    free_[static_cast<std::uint32_t>(region_end)] = static_cast<std::uint32_t>(end - region_end);
  used_ += region.count;
  return true;
}

std::optional<Region> SlotSpace::take(std::uint32_t count) {
  if (count == 0) return Region{};
  for (const auto& [base, free_count] : free_)
    if (free_count >= count) {
      const Region region{base, count};
      reserve(region);
      return region;
    }
  return std::nullopt;
}

void SlotSpace::retire(Region region, Clock::time_point now) {
  if (region.count > 0) quarantine_.push_back({region, now});
}

void SlotSpace::release(Clock::time_point until) {
  while (!quarantine_.empty() && quarantine_.front().since <= until) {
    give_back(quarantine_.front().region);
    quarantine_.pop_front();
  }
}

void SlotSpace::give_back(Region region) {
  used_ -= region.count;
  auto next = free_.lower_bound(region.base);
  if (next != free_.end() && next->first == region.base + region.count) {
    region.count += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == region.base) {
      before->second += region.count;
      return;
    }
  }
  free_[region.base] = region.count;
}

}  // namespace lb::bpf
