// Slots and slot space as arithmetic.
#include <map>
#include <numeric>
#include <random>
#include <span>

#include <gtest/gtest.h>

#include "ebpf/slot_space.h"
#include "ebpf/slots.h"

namespace lb::bpf {
namespace {

constexpr bool kCounted = true;

std::vector<Candidate> candidates(const std::vector<std::uint32_t>& weights) {
  std::vector<Candidate> out;
  for (std::uint32_t i = 0; i < weights.size(); ++i)
    out.push_back({i + 1, weights[i], "10.0.0." + std::to_string(i) + ":80"});
  return out;
}

// The chance of each id by the alias table, in 1/65536 of the whole.
std::map<std::uint32_t, double> chances(const SlotPlan& plan) {
  std::map<std::uint32_t, double> out;
  for (const auto slot : plan.drawn()) {
    const double own = LB_SLOT_THRESHOLD(slot) / 65536.0;
    out[LB_SLOT_ID(slot)] += own / static_cast<double>(plan.drawn().size());
    out[LB_SLOT_ALIAS(slot)] += (1 - own) / static_cast<double>(plan.drawn().size());
  }
  return out;
}

std::map<std::uint32_t, int> counts(const SlotPlan& plan) {
  std::map<std::uint32_t, int> out;
  for (const auto slot : plan.drawn()) ++out[LB_SLOT_ID(slot)];
  return out;
}

TEST(Slots, NoCandidatesMeanNoSlots) {
  for (const auto balance : {Balance::LeastConn, Balance::P2c, Balance::Random, Balance::RoundRobin,
                             Balance::SourceHash})
    EXPECT_TRUE(plan_slots(balance, kCounted, {}).slots.empty());
}

TEST(Slots, LeastConnectionsScansUpToTheLimitAndDrawsTwiceAbove) {
  const auto few = plan_slots(Balance::LeastConn, kCounted,
                              candidates(std::vector<std::uint32_t>(kScanLimit, 1)));
  EXPECT_EQ(few.policy, LB_POLICY_LEAST);
  EXPECT_EQ(few.drawn().size(), kScanLimit);
  const auto many = plan_slots(Balance::LeastConn, kCounted,
                               candidates(std::vector<std::uint32_t>(kScanLimit + 1, 1)));
  EXPECT_EQ(many.policy, LB_POLICY_P2C);
}

TEST(Slots, WithoutCountsTheChoiceIsRandomByWeight) {
  for (const auto balance : {Balance::LeastConn, Balance::P2c})
    EXPECT_EQ(plan_slots(balance, !kCounted, candidates({1, 2})).policy, LB_POLICY_RANDOM);
}

TEST(Slots, AliasTableGivesEachBackendItsShare) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint32_t> weights;
    for (std::size_t n = 1 + random() % 40; n > 0; --n)
      weights.push_back(1 + static_cast<std::uint32_t>(random() % kMaxWeight));
    const auto plan = plan_slots(Balance::Random, kCounted, candidates(weights));
    ASSERT_EQ(plan.drawn().size(), weights.size());
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    auto got = chances(plan);
    for (std::uint32_t i = 0; i < weights.size(); ++i)
      EXPECT_NEAR(got[i + 1], weights[i] / sum, 2.0 / 65536);
  }
}

TEST(Slots, RoundRobinInterleavesSmoothly) {
  const auto plan = plan_slots(Balance::RoundRobin, kCounted, candidates({5, 1, 1}));
  std::string sequence;
  for (const auto slot : plan.drawn()) sequence += std::to_string(LB_SLOT_ID(slot));
  EXPECT_EQ(sequence,
            "1211131");  // never more than three turns of one in a row, around the end too
}

TEST(Slots, RoundRobinGivesEachItsTurnsAtEvenDistances) {
  const auto plan = plan_slots(Balance::RoundRobin, kCounted, candidates({4, 4, 2, 2, 1}));
  EXPECT_EQ(counts(plan), (std::map<std::uint32_t, int>{{1, 4}, {2, 4}, {3, 2}, {4, 2}, {5, 1}}));
  const auto slots = plan.drawn();
  std::size_t last = slots.size();
  for (std::size_t i = 0; i < 2 * slots.size(); ++i) {
    if (LB_SLOT_ID(slots[i % slots.size()]) != 1) continue;
    if (last < slots.size()) {
      EXPECT_NEAR(static_cast<double>(i - last), 3.25, 1.8);
    }
    last = i % slots.size();
    if (i >= slots.size()) break;
  }
}

TEST(Slots, RoundRobinScalesHugeWeightsAndDropsNone) {
  const auto plan = plan_slots(Balance::RoundRobin, kCounted, candidates({65535, 65534, 1}));
  EXPECT_LE(plan.drawn().size(), 1025u);
  EXPECT_EQ(counts(plan)[3], 1);
}

TEST(Slots, MaglevIsEvenAndMovesFewWhenOneLeaves) {
  const auto before =
      plan_slots(Balance::SourceHash, kCounted, candidates(std::vector<std::uint32_t>(10, 1)));
  for (const auto& [id, count] : counts(before))
    EXPECT_NEAR(count, static_cast<int>(before.drawn().size()) / 10, 2) << id;
  auto rest = candidates(std::vector<std::uint32_t>(10, 1));
  rest.erase(rest.begin() + 4);
  const auto after = plan_slots(Balance::SourceHash, kCounted, rest);
  ASSERT_EQ(after.drawn().size(), before.drawn().size());
  std::size_t moved = 0;
  for (std::size_t i = 0; i < after.drawn().size(); ++i)
    moved += LB_SLOT_ID(before.drawn()[i]) != 5 && before.drawn()[i] != after.drawn()[i];
  EXPECT_LT(moved, after.drawn().size() / 20);
}

TEST(Slots, MaglevDependsOnNamesNotOnOrder) {
  auto one = candidates({1, 1, 1});
  auto other = one;
  std::swap(other[0], other[2]);
  const auto a = plan_slots(Balance::SourceHash, kCounted, one);
  const auto b = plan_slots(Balance::SourceHash, kCounted, other);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < a.drawn().size(); ++i) differ += a.drawn()[i] != b.drawn()[i];
  EXPECT_LT(differ, a.drawn().size() / 10);
}

TEST(Slots, MaglevHonoursWeights) {
  auto got = counts(plan_slots(Balance::SourceHash, kCounted, candidates({3, 1})));
  EXPECT_NEAR(got[1], 3 * got[2], got[2] / 5 + 3);
}

// By these the share of the ejected is counted.
TEST(Slots, EachLineIsNamedOnceBehindSlotsThatRepeatThem) {
  for (const Balance balance : {Balance::RoundRobin, Balance::SourceHash}) {
    const auto plan = plan_slots(balance, kCounted, candidates({5, 1, 1}));
    ASSERT_EQ(plan.lines, 3U);
    std::map<std::uint32_t, int> named;
    for (const auto slot : std::span(plan.slots).last(plan.lines)) ++named[LB_SLOT_ID(slot)];
    EXPECT_EQ(named, (std::map<std::uint32_t, int>{{1, 1}, {2, 1}, {3, 1}}));
    EXPECT_EQ(LB_SET_LINES(plan.word(8)), 3U);
    EXPECT_EQ(LB_SET_COUNT(plan.word(8)), plan.drawn().size());
    EXPECT_EQ(LB_SET_SLOTS(plan.word(8)), plan.slots.size());
  }
  EXPECT_EQ(plan_slots(Balance::RoundRobin, kCounted, candidates({2, 2})).lines, 0U);
  EXPECT_EQ(plan_slots(Balance::Random, kCounted, candidates({5, 1})).lines, 0U);
  const std::vector<std::uint32_t> many(5000, 3);
  EXPECT_EQ(plan_slots(Balance::SourceHash, kCounted, candidates(many)).lines,
            static_cast<std::uint32_t>(LB_SET_MAX_LINES));
}

TEST(Slots, NeverMoreThanASetCanName) {
  const auto plan =
      plan_slots(Balance::Random, kCounted, candidates(std::vector<std::uint32_t>(70000, 1)));
  EXPECT_EQ(plan.drawn().size(), static_cast<std::size_t>(LB_SET_MAX_SLOTS));
}

TEST(Weights, AreReducedByTheirCommonDivisor) {
  const std::vector<std::uint32_t> weights{100, 100, 250};
  EXPECT_EQ(reduce_weights(weights), (std::vector<std::uint32_t>{2, 2, 5}));
  EXPECT_TRUE(reduce_weights({}).empty());
}

TEST(SlotSpace, RetiredRegionsRestUntilReleased) {
  SlotSpace space(10);
  const Clock::time_point t0{};
  const auto a = space.take(6);
  ASSERT_TRUE(a);
  EXPECT_FALSE(space.take(5));
  space.retire(*a, t0 + std::chrono::seconds(1));
  EXPECT_FALSE(space.take(5));
  space.release(t0);
  EXPECT_FALSE(space.take(5));
  space.release(t0 + std::chrono::seconds(1));
  EXPECT_EQ(space.used(), 0u);
  EXPECT_TRUE(space.take(10));
}

TEST(SlotSpace, ReservedRegionsAreNotGivenOut) {
  SlotSpace space(10);
  EXPECT_TRUE(space.reserve({3, 4}));
  EXPECT_FALSE(space.reserve({6, 2}));
  EXPECT_FALSE(space.reserve({9, 5}));
  EXPECT_EQ(space.take(3)->base, 0u);
  EXPECT_EQ(space.take(3)->base, 7u);
  EXPECT_FALSE(space.take(1));
}

TEST(SlotSpace, RandomTakingAndReturningLosesNothing) {
  std::mt19937 random(11);
  SlotSpace space(1000);
  std::vector<Region> held;
  std::uint32_t sum = 0;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 2 == 0) {
      const auto region = space.take(1 + static_cast<std::uint32_t>(random() % 50));
      if (!region) continue;
      for (const auto& other : held)
        ASSERT_TRUE(region->base + region->count <= other.base ||
                    other.base + other.count <= region->base);
      held.push_back(*region);
      sum += region->count;
    } else if (!held.empty()) {
      const auto at = random() % held.size();
      sum -= held[at].count;
      space.retire(held[at], Clock::time_point{});
      space.release(Clock::time_point{});
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    }
    ASSERT_EQ(space.used(), sum);
  }
  for (const auto& region : held) space.retire(region, Clock::time_point{});
  space.release(Clock::time_point{});
  EXPECT_EQ(space.take(1000)->base, 0u);
}

}  // namespace
}  // namespace lb::bpf
