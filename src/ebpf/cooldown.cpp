#include "ebpf/cooldown.h"

#include <algorithm>
#include <vector>

namespace lb::bpf {
namespace {

constexpr std::int64_t kTick = std::int64_t{1} << LB_TICK_SHIFT;  // ns

}  // namespace

Tick tick_at(std::chrono::steady_clock::time_point now) {
  return static_cast<Tick>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count() / kTick);
}

std::chrono::milliseconds duration_of(std::uint32_t ticks) {
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(ticks * kTick));
}

std::uint32_t ticks_left(std::uint32_t cooldown, Tick now) {
  if (cooldown == 0) return 0;
  const std::uint32_t end = cooldown & ~static_cast<std::uint32_t>(LB_COOLDOWN_FLAGS);
  std::int32_t left = static_cast<std::int32_t>(end - (now << 2U)) >> 2U;
  if (left < 0 || left > LB_COOLDOWN_TICKS) left = 0;
  const auto ticks = static_cast<std::uint32_t>(left);
  return (cooldown & LB_COOLDOWN_HELD) != 0 ? LB_HELD_TICKS + ticks : ticks;
}

// 0 means that there is none, so an end at tick 0 lies one tick later.
std::uint32_t cooldown_until(Tick end, std::uint32_t flags) {
  const std::uint32_t word = end << 2U | flags;
  return word == 0 ? 1U << 2U : word;
}

std::uint32_t next_ejection(const lb_backend_cold& line, Tick now) {
  const std::uint32_t lasted = LB_EJECTION_TICKS(line.ejections);
  if (line.ejections == 0 || now - line.back_since > lasted + lasted / 2) return 1;
  return std::min<std::uint32_t>(line.ejections + 1, LB_EJECTION_LONGEST);
}

std::uint32_t cutoff(std::span<const std::uint32_t> ranks, std::uint32_t max_ejected) {
  if (ranks.empty()) return 0;
  const auto lines = ranks.size();
  const auto spared = std::min<std::size_t>(lines * max_ejected / 100, lines - 1);
  std::vector<std::uint32_t> sorted(ranks.begin(), ranks.end());
  const auto last = sorted.begin() + static_cast<std::ptrdiff_t>(lines - spared - 1);
  std::nth_element(sorted.begin(), last, sorted.end());
  return *last;
}

}  // namespace lb::bpf
