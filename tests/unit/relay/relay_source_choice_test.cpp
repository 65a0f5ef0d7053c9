#include "relay/choice.h"

#include <gtest/gtest.h>

#include <set>

#include "unit/relay/times.h"

namespace lb::relay {
namespace {

using namespace std::chrono_literals;
using Indexes = std::vector<std::size_t>;

constexpr auto kConfirm = 10s;

SourceMark mark(const std::string& name, int as_of, int read_at, bool ok = true) {
  return {name, "7", wall(as_of), wall(read_at), ok};
}

class ChoiceTest : public testing::Test {
 protected:
  using Decision = Choice::Decision;

  Choice make(std::size_t updaters) { return Choice(updaters, kConfirm, start_); }
  static Choice::TimePoint at(std::chrono::milliseconds since) { return start_ + since; }
  static Position position(const std::string& epoch, std::uint64_t sequence = 1) {
    return {epoch, sequence};
  }
  // Updater 0 of `count` feeds with what was read in second 100; all are connected.
  Choice fed(std::size_t count) {
    Choice choice = make(count);
    for (std::size_t i = 0; i < count; ++i)
      choice.connected(i, position(std::string(1, static_cast<char>('a' + i))), at(0ms));
    EXPECT_EQ(choice.decide(at(0ms), 0).ask, Indexes{0});
    choice.received(0, position("a"), {mark("m", 100, 100)}, at(0ms));
    EXPECT_EQ(choice.decide(at(0ms), 0).take, 0U);
    return choice;
  }

  static inline const Choice::TimePoint start_{1h};
};

TEST_F(ChoiceTest, AsksTheOnlyOneThatIsConnected) {
  Choice choice = make(1);
  EXPECT_TRUE(choice.decide(at(0ms), 0).ask.empty());
  choice.connected(0, position("a"), at(5ms));
  EXPECT_EQ(choice.decide(at(5ms), 0).ask, Indexes{0});
  EXPECT_FALSE(choice.feeder());
  EXPECT_TRUE(choice.decide(at(6ms), 0).ask.empty());
}

TEST_F(ChoiceTest, TakesTheFirstStateAndAsksNobodyElse) {
  Choice choice = fed(3);
  EXPECT_EQ(choice.feeder(), 0U);
  const Decision after = choice.decide(at(10s), 7);
  EXPECT_TRUE(after.ask.empty() && after.leave.empty() && !after.take && !after.next);
}

TEST_F(ChoiceTest, WaitsForTheOthersAtTheStartSoThatChanceDecides) {
  std::set<std::size_t> chosen;
  for (std::uint32_t random = 0; random < 3; ++random) {
    Choice choice = make(3);
    choice.connected(1, position("b"), at(0ms));
    const Decision early = choice.decide(at(0ms), random);
    EXPECT_TRUE(early.ask.empty());
    EXPECT_EQ(early.next, at(Choice::kGather));
    choice.connected(0, position("a"), at(2ms));
    choice.connected(2, position("c"), at(3ms));
    const Decision all = choice.decide(at(3ms), random);
    ASSERT_EQ(all.ask.size(), 1U);
    chosen.insert(all.ask[0]);
  }
  EXPECT_EQ(chosen.size(), 3U);
}

TEST_F(ChoiceTest, WaitsAtTheStartNoLongerThanThat) {
  Choice choice = make(2);
  choice.connected(1, position("b"), at(0ms));
  EXPECT_EQ(choice.decide(at(Choice::kGather), 0).ask, Indexes{1});
}

TEST_F(ChoiceTest, DoesNotWaitForOneThatCannotBeConnected) {
  Choice choice = make(2);
  choice.lost(0, at(0ms));
  choice.connected(1, position("b"), at(1ms));
  EXPECT_EQ(choice.decide(at(1ms), 0).ask, Indexes{1});
}

TEST_F(ChoiceTest, AsksAnotherAtOnceWhenTheFeederGoes) {
  Choice choice = fed(3);
  choice.lost(0, at(1s));
  const Decision after = choice.decide(at(1s), 1);
  EXPECT_EQ(after.ask, Indexes{2});
  EXPECT_FALSE(choice.feeder());
  choice.received(2, position("c"), {mark("m", 100, 101)}, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).take, 2U);
}

TEST_F(ChoiceTest, AsksOneMoreWhenTheFirstSendsNothing) {
  Choice choice = fed(3);
  choice.lost(0, at(1s));
  const Decision first = choice.decide(at(1s), 0);
  EXPECT_EQ(first.ask, Indexes{1});
  EXPECT_EQ(first.next, at(1s) + Choice::kPatience);
  EXPECT_EQ(choice.decide(at(1s) + Choice::kPatience, 0).ask, Indexes{2});
  choice.received(2, position("c"), {mark("m", 100, 101)}, at(5s));
  const Decision last = choice.decide(at(5s), 0);
  EXPECT_EQ(last.take, 2U);
  EXPECT_EQ(last.leave, Indexes{1});
  EXPECT_FALSE(choice.wanted(1));
}

TEST_F(ChoiceTest, PrefersOneThatIsWellAndHasAState) {
  Choice choice = fed(4);
  choice.heard(1, {.ok = false, .read_at = wall(200)});
  choice.connected(2, position("c", 0), at(1s));  // just started
  choice.lost(0, at(2s));
  for (std::uint32_t random = 0; random < 4; ++random) {
    Choice copy = choice;
    EXPECT_EQ(copy.decide(at(2s), random).ask, Indexes{3});
  }
}

TEST_F(ChoiceTest, WaitsForNobodyWithoutAStateOnceAnotherHasOne) {
  Choice choice = make(2);
  choice.connected(0, position("a", 0), at(0ms));
  choice.lost(1, at(0ms));
  EXPECT_EQ(choice.decide(at(0ms), 0).ask, Indexes{0});
  choice.connected(1, position("b", 7), at(200ms));
  EXPECT_EQ(choice.decide(at(200ms), 0).ask, Indexes{1});
  EXPECT_TRUE(choice.decide(at(201ms), 0).ask.empty());
}

TEST_F(ChoiceTest, GoesOnWithTheSameRunWithoutAWholeState) {
  Choice choice = fed(1);
  choice.lost(0, at(1s));
  EXPECT_TRUE(choice.decide(at(1s), 0).ask.empty());
  choice.connected(0, position("a", 5), at(2s));
  const Decision after = choice.decide(at(2s), 0);
  EXPECT_EQ(after.ask, Indexes{0});
  EXPECT_EQ(after.take, 0U);
}

TEST_F(ChoiceTest, DoesNotGoOnFromAStateOfAnEarlierRun) {
  Choice choice = make(1);
  choice.restore(position("a"), {mark("m", 100, 100)});
  choice.connected(0, position("a"), at(0ms));
  const Decision first = choice.decide(at(0ms), 0);
  EXPECT_EQ(first.ask, Indexes{0});
  EXPECT_FALSE(first.take);
  choice.received(0, position("a"), {mark("m", 100, 50)}, at(0ms));
  EXPECT_EQ(choice.decide(at(0ms), 0).take, 0U);
}

TEST_F(ChoiceTest, HoldsAnOlderStateUntilTheNewerUpdaterHasBeenGoneForSoLong) {
  Choice choice = fed(2);
  choice.lost(0, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).ask, Indexes{1});
  choice.received(1, position("b"), {mark("m", 80, 99)}, at(1s));
  const Decision held = choice.decide(at(1s), 0);
  EXPECT_FALSE(held.take);
  EXPECT_EQ(held.next, at(1s) + kConfirm);
  const auto hold = choice.hold();
  ASSERT_TRUE(hold);
  EXPECT_EQ(hold->updater, 1U);
  EXPECT_EQ(hold->source, "m");
  EXPECT_EQ(hold->read_at, wall(99));
  EXPECT_EQ(hold->as_of, wall(100));
  EXPECT_FALSE(hold->newer_connected);
  EXPECT_FALSE(choice.decide(at(1s) + kConfirm - 1ms, 0).take);
  EXPECT_EQ(choice.decide(at(1s) + kConfirm, 0).take, 1U);
  EXPECT_FALSE(choice.hold());
}

TEST_F(ChoiceTest, ASourceThatIsMissingThereCountsAsOlder) {
  Choice choice = fed(2);
  choice.lost(0, at(1s));
  (void)choice.decide(at(1s), 0);
  choice.received(1, position("b"), {mark("other", 300, 300)}, at(1s));
  EXPECT_FALSE(choice.decide(at(1s), 0).take);
  EXPECT_FALSE(choice.hold()->read_at);
}

TEST_F(ChoiceTest, AsksTheOthersWhileItHoldsAnOlderState) {
  Choice choice = fed(3);
  choice.lost(0, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).ask, Indexes{1});
  choice.received(1, position("b"), {mark("m", 80, 99)}, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).ask, Indexes{2});
  choice.received(2, position("c"), {mark("m", 90, 100)}, at(1s));
  const Decision last = choice.decide(at(1s), 0);
  EXPECT_EQ(last.take, 2U);
  EXPECT_EQ(last.leave, Indexes{1});
}

TEST_F(ChoiceTest, TakesTheNewestOfTheHeldOnes) {
  Choice choice = fed(3);
  choice.lost(0, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).ask, Indexes{1});
  choice.received(1, position("b"), {mark("m", 80, 90)}, at(1s));
  EXPECT_EQ(choice.decide(at(1s), 0).ask, Indexes{2});
  choice.received(2, position("c"), {mark("m", 80, 95)}, at(1s));
  EXPECT_FALSE(choice.decide(at(1s), 0).take);
  EXPECT_EQ(choice.decide(at(1s) + kConfirm, 0).take, 2U);
}

TEST_F(ChoiceTest, TakesAHeldStateAsSoonAsItIsOlderNoMore) {
  Choice choice = fed(2);
  choice.lost(0, at(1s));
  (void)choice.decide(at(1s), 0);
  choice.received(1, position("b"), {mark("m", 80, 99)}, at(1s));
  EXPECT_FALSE(choice.decide(at(1s), 0).take);
  choice.heard(1, {.ok = true, .read_at = wall(104)});  // nothing had changed there
  EXPECT_EQ(choice.decide(at(6s), 0).take, 1U);
}

TEST_F(ChoiceTest, TheNewerUpdaterThatComesBackIsGoneNoMore) {
  Choice choice = fed(2);
  choice.lost(0, at(1s));
  (void)choice.decide(at(1s), 0);
  choice.received(1, position("b"), {mark("m", 80, 99)}, at(1s));
  (void)choice.decide(at(1s), 0);
  choice.connected(0, position("a", 2), at(9s));
  const Decision back = choice.decide(at(9s), 0);
  EXPECT_EQ(back.take, 0U);
  EXPECT_EQ(back.leave, Indexes{1});
}

TEST_F(ChoiceTest, TheNewerUpdaterThatComesBackWithAnotherRunIsGone) {
  Choice choice = fed(2);
  choice.lost(0, at(1s));
  (void)choice.decide(at(1s), 0);
  choice.received(1, position("b"), {mark("m", 80, 99)}, at(1s));
  choice.connected(0, position("a2", 0), at(5s));
  EXPECT_EQ(choice.decide(at(5s), 0).ask, Indexes{0});
  EXPECT_EQ(choice.decide(at(1s) + kConfirm, 0).take, 1U);
}

TEST_F(ChoiceTest, ARestoredStateIsHeldAgainstOlderOnesFromTheStart) {
  Choice choice = make(1);
  choice.restore(position("a"), {mark("m", 100, 100)});
  choice.connected(0, position("b"), at(3s));
  EXPECT_EQ(choice.decide(at(3s), 0).ask, Indexes{0});
  choice.received(0, position("b"), {mark("m", 60, 70)}, at(3s));
  const Decision held = choice.decide(at(3s), 0);
  EXPECT_FALSE(held.take);
  EXPECT_EQ(held.next, at(kConfirm));
  EXPECT_EQ(choice.decide(at(kConfirm), 0).take, 0U);
}

TEST_F(ChoiceTest, AFrozenNewerUpdaterCountsAsGoneSinceItWasAsked) {
  Choice choice = make(2);
  choice.restore(position("a"), {mark("m", 100, 100)});
  choice.connected(0, position("a"), at(20s));
  choice.connected(1, position("b"), at(20s));
  EXPECT_EQ(choice.decide(at(20s), 1).ask, Indexes{1});
  choice.received(1, position("b"), {mark("m", 60, 70)}, at(20s));
  EXPECT_EQ(choice.decide(at(20s), 0).ask, Indexes{0});  // and it never answers
  EXPECT_TRUE(choice.hold()->newer_connected);
  EXPECT_FALSE(choice.decide(at(24s), 0).take);
  EXPECT_EQ(choice.decide(at(20s) + kConfirm, 0).take, 1U);
}

TEST_F(ChoiceTest, LeavesAFeederThatFailsForOneThatIsWell) {
  Choice choice = fed(2);
  choice.heard(1, {.ok = true, .read_at = wall(105)});
  choice.heard(0, {.ok = false, .read_at = wall(100)});
  EXPECT_EQ(choice.decide(at(5s), 0).ask, Indexes{1});
  EXPECT_EQ(choice.feeder(), 0U);  // until the other one has sent its state
  choice.received(1, position("b"), {mark("m", 101, 105)}, at(6s));
  const Decision after = choice.decide(at(6s), 0);
  EXPECT_EQ(after.take, 1U);
  EXPECT_EQ(after.leave, Indexes{0});
}

TEST_F(ChoiceTest, StaysWithAFeederThatFailsWhileNobodyIsBetter) {
  Choice choice = fed(3);
  choice.heard(1, {.ok = false, .read_at = wall(105)});
  choice.heard(2, {.ok = true, .read_at = wall(99)});  // older
  choice.heard(0, {.ok = false, .read_at = wall(100)});
  EXPECT_TRUE(choice.decide(at(5s), 0).ask.empty());
}

TEST_F(ChoiceTest, StaysWithItsFeederWhenTheBetterOneProvesToBeOlder) {
  Choice choice = fed(2);
  choice.heard(1, {.ok = true, .read_at = wall(105)});
  choice.heard(0, {.ok = false, .read_at = wall(100)});
  EXPECT_EQ(choice.decide(at(5s), 0).ask, Indexes{1});
  choice.received(1, position("b"), {mark("other", 101, 105)}, at(6s));
  const Decision after = choice.decide(at(6s), 0);
  EXPECT_FALSE(after.take);
  EXPECT_EQ(after.leave, Indexes{1});
  EXPECT_EQ(choice.feeder(), 0U);
}

TEST_F(ChoiceTest, SwitchesByItsOwnWillAtMostOnceInThirtySeconds) {
  Choice choice = fed(2);
  choice.heard(1, {.ok = true, .read_at = wall(105)});
  choice.heard(0, {.ok = false, .read_at = wall(100)});
  (void)choice.decide(at(5s), 0);
  choice.received(1, position("b"), {mark("m", 101, 105)}, at(5s));
  EXPECT_EQ(choice.decide(at(5s), 0).take, 1U);
  choice.heard(0, {.ok = true, .read_at = wall(110)});
  choice.heard(1, {.ok = false, .read_at = wall(106)});
  const Decision early = choice.decide(at(10s), 0);
  EXPECT_TRUE(early.ask.empty());
  EXPECT_EQ(early.next, at(5s) + Choice::kSwitchAtMost);
  EXPECT_EQ(choice.decide(at(5s) + Choice::kSwitchAtMost, 0).ask, Indexes{0});
}

TEST_F(ChoiceTest, AsksNoMoreForABetterOneWhenTheFeederIsWellAgain) {
  Choice choice = fed(2);
  choice.heard(1, {.ok = true, .read_at = wall(105)});
  choice.heard(0, {.ok = false, .read_at = wall(100)});
  EXPECT_EQ(choice.decide(at(5s), 0).ask, Indexes{1});
  choice.heard(0, {.ok = true, .read_at = wall(106)});
  EXPECT_EQ(choice.decide(at(6s), 0).leave, Indexes{1});
}

TEST_F(ChoiceTest, KnowsSinceWhenWhatIsInForceWasTheTruth) {
  Choice choice = make(1);
  EXPECT_FALSE(choice.read_at());
  choice.connected(0, position("a"), at(0ms));
  (void)choice.decide(at(0ms), 0);
  choice.received(0, position("a"), {mark("m", 100, 120), mark("n", 90, 110)}, at(0ms));
  (void)choice.decide(at(0ms), 0);
  EXPECT_EQ(choice.read_at(), wall(110));
  choice.heard(0, {.ok = true, .read_at = wall(115)});
  EXPECT_EQ(choice.read_at(), wall(115));
  choice.received(0, position("a", 2), {mark("m", 130, 130), mark("n", 130, 131)}, at(1s));
  EXPECT_EQ(choice.read_at(), wall(130));
  choice.lost(0, at(2s));
  EXPECT_EQ(choice.read_at(), wall(130));
}

TEST_F(ChoiceTest, AFeederThatSendsAStateOfAnotherRunIsJudgedLikeAnyOther) {
  Choice choice = fed(1);
  choice.received(0, position("z"), {mark("m", 10, 20)}, at(1s));
  EXPECT_FALSE(choice.feeder());
  EXPECT_FALSE(choice.decide(at(1s), 0).take);
  EXPECT_EQ(choice.decide(at(1s) + kConfirm, 0).take, 0U);
}

}  // namespace
}  // namespace lb::relay
