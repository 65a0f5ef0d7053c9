// The word that ejects a line, as lbd reads and writes it; the hooks' side is tested in the kernel.
#include "ebpf/cooldown.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace lb::bpf {
namespace {

using namespace std::chrono_literals;

constexpr Tick kNow = 1000;

TEST(Cooldown, LastsUntilItsEnd) {
  const std::uint32_t word = cooldown_until(kNow + 238, 0);
  EXPECT_EQ(ticks_left(word, kNow), 238U);
  EXPECT_EQ(ticks_left(word, kNow + 237), 1U);
  EXPECT_EQ(ticks_left(word, kNow + 238), 0U);
  EXPECT_EQ(ticks_left(word, kNow + 500), 0U);
  EXPECT_EQ(ticks_left(0, kNow), 0U);
}

TEST(Cooldown, HeldNeverEndsByItself) {
  const std::uint32_t word = cooldown_until(kNow + 10, LB_COOLDOWN_HELD);
  EXPECT_EQ(ticks_left(word, kNow), LB_HELD_TICKS + 10U);
  EXPECT_EQ(ticks_left(word, kNow + 100'000), static_cast<std::uint32_t>(LB_HELD_TICKS));
}

TEST(Cooldown, ClockThatWrapsChangesNothing) {
  const Tick last = 0x3fffffff;
  EXPECT_EQ(ticks_left(cooldown_until(last + 5, 0), last), 5U);
  EXPECT_EQ(ticks_left(cooldown_until(last + 1, 0), last), 2U) << "0 would mean that there is none";
}

// After the longest time that lbd was away.
TEST(Cooldown, EndInTheFarFutureIsAnOldOne) {
  EXPECT_EQ(ticks_left(cooldown_until(kNow + LB_COOLDOWN_TICKS + 1, 0), kNow), 0U);
  EXPECT_EQ(ticks_left(cooldown_until(kNow + (1U << 28U), 0), kNow), 0U);
}

TEST(Cooldown, DurationsDoubleToAMinute) {
  std::vector<std::int64_t> seconds;
  for (std::uint32_t n = 1; n <= 8; ++n)
    seconds.push_back(
        std::chrono::round<std::chrono::seconds>(duration_of(LB_EJECTION_TICKS(n))).count());
  EXPECT_EQ(seconds, (std::vector<std::int64_t>{1, 2, 4, 8, 16, 32, 60, 60}));
}

TEST(Cooldown, NextIsLongerUnlessItWasWellForLong) {
  lb_backend_cold line{};
  EXPECT_EQ(next_ejection(line, kNow), 1U);
  line.ejections = 3;
  line.back_since = kNow;
  EXPECT_EQ(next_ejection(line, kNow + 5), 4U);
  EXPECT_EQ(next_ejection(line, kNow + LB_EJECTION_TICKS(3)), 4U);
  EXPECT_EQ(next_ejection(line, kNow + 2 * LB_EJECTION_TICKS(3)), 1U);
  line.ejections = LB_EJECTION_LONGEST;
  EXPECT_EQ(next_ejection(line, kNow + 5), static_cast<std::uint32_t>(LB_EJECTION_LONGEST));
}

// How many of lines with these ranks stay out.
std::size_t out(const std::vector<std::uint32_t>& ranks, std::uint32_t max_ejected) {
  const std::uint32_t spared = cutoff(ranks, max_ejected);
  return static_cast<std::size_t>(
      std::count_if(ranks.begin(), ranks.end(), [&](auto rank) { return rank > spared; }));
}

TEST(Cooldown, ShareOfTheServiceStays) {
  EXPECT_EQ(out({0, 0, 0, 9}, 50), 1U);
  EXPECT_EQ(out({0, 0, 8, 9}, 50), 2U);
  EXPECT_EQ(out({0, 7, 8, 9}, 50), 2U);
  EXPECT_EQ(out({6, 7, 8, 9}, 50), 2U);
  EXPECT_EQ(out({7, 8, 9}, 50), 1U) << "a half of three is one";
  EXPECT_EQ(out({8, 9}, 50), 1U);
  EXPECT_EQ(out({9}, 50), 0U);
  EXPECT_EQ(out({7, 8, 9}, 100), 2U) << "one stays whatever is asked for";
  EXPECT_EQ(out({7, 8, 9}, 0), 0U);
  EXPECT_EQ(out({}, 50), 0U);
}

TEST(Cooldown, SoonestToEndIsLetInFirst) {
  EXPECT_EQ(cutoff(std::vector<std::uint32_t>{900, 100, 500, 300}, 50), 300U);
}

}  // namespace
}  // namespace lb::bpf
