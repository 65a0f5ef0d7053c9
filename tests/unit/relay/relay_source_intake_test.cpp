#include "relay/intake.h"

#include <gtest/gtest.h>

#include "relay/feed.h"
#include "support/snapshot_builder.h"
#include "unit/relay/times.h"

namespace lb::relay {
namespace {

using namespace std::chrono_literals;
using Services = std::vector<ServicePtr>;

std::vector<SourceMark> marks(int second) { return {{"m", "1", wall(second), wall(second), true}}; }

ServicePtr web(const std::string& backend) { return offered("127.0.0.1:80", {listed(backend)}); }

SnapshotMessage whole(Position at, Services services, int second = 100) {
  return {std::move(at), marks(second), std::move(services)};
}

Delta change(Position at, std::uint64_t base, const Services& before, const Services& after) {
  Delta out = make_delta(before, after);
  out.at = std::move(at);
  out.base = base;
  out.sources = marks(101);
  return out;
}

class IntakeTest : public testing::Test {
 protected:
  Intake::Todo decide() { return intake_.decide(kStart, 0); }
  Result<> take(std::size_t updater, Message message) {
    return intake_.take(updater, std::move(message), kStart);
  }
  void connect(std::size_t updater, const std::string& epoch, std::uint64_t sequence = 1) {
    intake_.up(updater, {epoch, sequence}, kStart);
  }
  // Updater 0 of run "a" feeds `web` at sequence 1.
  void feed() {
    connect(0, "a");
    connect(1, "b");
    const auto asked = decide();
    ASSERT_EQ(asked.feeds.size(), 1U);
    EXPECT_TRUE(asked.feeds[0].second.wants_state);
    EXPECT_FALSE(asked.feeds[0].second.have);
    ASSERT_TRUE(take(0, whole({"a", 1}, first_)));
    EXPECT_TRUE(decide().feeds.empty());
    ASSERT_NE(intake_.in_force(), nullptr);
  }

  const Services first_{web("10.0.0.1:80"), offered("127.0.0.1:81", {listed("10.0.0.1:81")})};
  const Services second_{web("10.0.0.2:80"), first_[1]};
  Intake intake_{2, 10s, kStart};
};

TEST_F(IntakeTest, TheFirstStateIsGuarded) {
  feed();
  EXPECT_EQ(intake_.in_force()->services, first_);
  EXPECT_TRUE(intake_.guarded());
}

TEST_F(IntakeTest, DeltasAndLaterStatesOfTheSameRunAreBelieved) {
  feed();
  intake_.believed();
  const auto version = intake_.version();
  ASSERT_TRUE(take(0, change({"a", 2}, 1, first_, second_)));
  EXPECT_EQ(intake_.in_force()->at.sequence, 2U);
  EXPECT_EQ(intake_.in_force()->services[0]->backends, second_[0]->backends);
  EXPECT_EQ(intake_.in_force()->services[1], first_[1]);
  EXPECT_GT(intake_.version(), version);
  ASSERT_TRUE(take(0, whole({"a", 9}, {})));
  EXPECT_TRUE(intake_.in_force()->services.empty());
  EXPECT_FALSE(intake_.guarded());
}

TEST_F(IntakeTest, AnEarlierStateOfTheSameRunIsGuarded) {
  feed();
  ASSERT_TRUE(take(0, whole({"a", 9}, first_)));
  intake_.believed();
  ASSERT_TRUE(take(0, whole({"a", 5}, {})));
  EXPECT_TRUE(intake_.guarded());
}

TEST_F(IntakeTest, AStateOfAnotherRunIsGuardedAndSharesWhatIsTheSame) {
  feed();
  intake_.believed();
  intake_.down(0, kStart);
  const auto asked = decide();
  ASSERT_EQ(asked.feeds.size(), 1U);
  EXPECT_EQ(asked.feeds[0].first, 1U);
  ASSERT_TRUE(take(1, whole({"b", 7}, {web("10.0.0.1:80")})));
  (void)decide();
  EXPECT_TRUE(intake_.guarded());
  EXPECT_EQ(intake_.in_force()->at, (Position{"b", 7}));
  EXPECT_EQ(intake_.in_force()->services.at(0), first_[0]);
}

TEST_F(IntakeTest, StaysGuardedUntilThatHasBeenDelivered) {
  feed();  // guarded
  ASSERT_TRUE(take(0, change({"a", 2}, 1, first_, second_)));
  EXPECT_TRUE(intake_.guarded());
}

TEST_F(IntakeTest, AsksForASnapshotAfterAGapAndIgnoresDeltasUntilItComes) {
  feed();
  ASSERT_TRUE(take(0, change({"a", 3}, 2, first_, second_)));
  EXPECT_EQ(decide().resyncs, std::vector<std::size_t>{0});
  ASSERT_TRUE(take(0, change({"a", 4}, 3, first_, second_)));
  EXPECT_TRUE(decide().resyncs.empty());
  EXPECT_EQ(intake_.in_force()->services, first_);
  ASSERT_TRUE(take(0, whole({"a", 4}, second_)));
  EXPECT_EQ(intake_.in_force()->at.sequence, 4U);
  ASSERT_TRUE(take(0, change({"a", 5}, 4, second_, {})));
  EXPECT_TRUE(intake_.in_force()->services.empty());
}

TEST_F(IntakeTest, AsksForASnapshotWhenADeltaDoesNotFit) {
  feed();
  ASSERT_TRUE(take(0, change({"a", 2}, 1, {offered("127.0.0.1:99", {})}, {})));
  EXPECT_EQ(decide().resyncs, std::vector<std::size_t>{0});
  EXPECT_EQ(intake_.in_force()->services, first_);
}

TEST_F(IntakeTest, GivesUpAnUpdaterWhoseDeltasNeverFit) {
  feed();
  Result<> last;
  int resyncs = 0;
  for (std::uint64_t i = 2; i < 20; ++i) {
    last = take(0, change({"a", 100 + i}, 50, first_, second_));
    resyncs += static_cast<int>(decide().resyncs.size());
    if (!last) break;
    ASSERT_TRUE(take(0, whole({"a", i}, first_)));
  }
  EXPECT_FALSE(last);
  EXPECT_EQ(resyncs, 3);
}

TEST_F(IntakeTest, GoesOnWithDeltasAfterAReconnectToTheSameRun) {
  feed();
  intake_.down(1, kStart);
  intake_.believed();
  intake_.down(0, kStart);
  (void)decide();
  connect(0, "a", 2);
  const auto todo = decide();
  ASSERT_EQ(todo.feeds.size(), 1U);
  EXPECT_EQ(todo.feeds[0].second.have, (Position{"a", 1}));
  ASSERT_TRUE(take(0, change({"a", 2}, 1, first_, second_)));
  EXPECT_EQ(intake_.in_force()->at.sequence, 2U);
  EXPECT_FALSE(intake_.guarded());
}

TEST_F(IntakeTest, IgnoresStatesOfUpdatersThatWereNotAsked) {
  feed();
  ASSERT_TRUE(take(1, whole({"b", 1}, {})));
  ASSERT_TRUE(take(1, change({"b", 2}, 1, first_, {})));
  const auto todo = decide();
  EXPECT_TRUE(todo.feeds.empty() && todo.resyncs.empty());
  EXPECT_EQ(intake_.in_force()->services, first_);
}

TEST_F(IntakeTest, AHeldStateFollowsItsUpdaterUntilItIsTaken) {
  feed();
  intake_.down(0, kStart);
  (void)decide();
  ASSERT_TRUE(take(1, whole({"b", 1}, first_, 50)));  // older
  (void)decide();
  EXPECT_EQ(intake_.in_force()->at.epoch, "a");
  ASSERT_TRUE(intake_.choice().hold());
  ASSERT_TRUE(take(1, change({"b", 2}, 1, first_, second_)));  // of second 101
  (void)decide();
  EXPECT_EQ(intake_.in_force()->at, (Position{"b", 2}));
  EXPECT_EQ(intake_.in_force()->services[0]->backends, second_[0]->backends);
}

}  // namespace
}  // namespace lb::relay
