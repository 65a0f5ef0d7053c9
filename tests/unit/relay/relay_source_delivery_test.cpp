#include "relay/delivery.h"

#include <gtest/gtest.h>

#include "support/snapshot_builder.h"
#include "unit/relay/times.h"

namespace lb::relay {
namespace {

using namespace std::chrono_literals;
using Services = std::vector<ServicePtr>;
using Lines = std::vector<std::string>;

class DeliveryTest : public testing::Test {
 protected:
  void SetUp() override {
    intake_.up(0, {"a", 1}, kStart);
    (void)intake_.decide(kStart, 0);
  }
  void send(Position at, Services services, int second = 100) {
    const std::vector<SourceMark> marks{{"m", "1", wall(second), wall(second), true},
                                        {"n", "1", wall(second - 7), wall(second), true}};
    SnapshotMessage message{std::move(at), marks, std::move(services)};
    ASSERT_TRUE(intake_.take(0, std::move(message), kStart));
    (void)intake_.decide(kStart, 0);
  }
  std::optional<Snapshot> next(Lines warnings = {}, bool again = false) {
    return delivery_.next(intake_, std::move(warnings), again, wall(500));
  }

  static Services web(const std::string& backend) {
    return {offered("127.0.0.1:80", {listed(backend)}),
            offered("127.0.0.1:81", {listed("10.0.0.9:81")})};
  }

  Intake intake_{1, 10s, kStart};
  Delivery delivery_;
};

TEST_F(DeliveryTest, GivesNothingBeforeTheFirstState) {
  EXPECT_FALSE(next({"a warning"}));
  EXPECT_FALSE(delivery_.acknowledged(intake_));
}

TEST_F(DeliveryTest, GivesEachStateOnce) {
  send({"a", 1}, web("10.0.0.1:80"));
  const auto first = next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->absence, Absence::Guarded);
  EXPECT_EQ(first->as_of, wall(100));
  EXPECT_EQ(first->revision.rfind("a:1 m=", 0), 0U) << first->revision;
  EXPECT_FALSE(next());
  send({"a", 2}, web("10.0.0.2:80"));
  const auto second = next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->absence, Absence::Believed);
  EXPECT_EQ(second->services[1], first->services[1]);
}

TEST_F(DeliveryTest, GivesNothingWhenTheServicesAreTheSame) {
  send({"a", 1}, web("10.0.0.1:80"));
  ASSERT_TRUE(next());
  send({"a", 2}, web("10.0.0.1:80"), 200);
  EXPECT_FALSE(next());
}

TEST_F(DeliveryTest, GivesTheSameServicesWithOtherWarningsOrAfterAnError) {
  send({"a", 1}, web("10.0.0.1:80"));
  ASSERT_TRUE(next());
  EXPECT_EQ(next({"w"})->warnings, Lines{"w"});
  EXPECT_FALSE(next({"w"}));
  EXPECT_TRUE(next({"w"}, true));
}

TEST_F(DeliveryTest, AcknowledgesWhatWasGivenOutAndApplied) {
  send({"a", 1}, web("10.0.0.1:80"));
  ASSERT_TRUE(next());
  EXPECT_FALSE(delivery_.acknowledged(intake_));
  delivery_.applied();
  EXPECT_EQ(delivery_.acknowledged(intake_), (Position{"a", 1}));
  send({"a", 2}, web("10.0.0.2:80"));
  EXPECT_EQ(delivery_.acknowledged(intake_), (Position{"a", 1}));
  ASSERT_TRUE(next());
  EXPECT_FALSE(delivery_.acknowledged(intake_));
  delivery_.applied();
  EXPECT_EQ(delivery_.acknowledged(intake_), (Position{"a", 2}));
}

TEST_F(DeliveryTest, AcknowledgesAStateThatChangesNothingAtOnce) {
  send({"a", 1}, web("10.0.0.1:80"));
  ASSERT_TRUE(next());
  delivery_.applied();
  send({"a", 2}, web("10.0.0.1:80"));
  EXPECT_FALSE(next());
  EXPECT_EQ(delivery_.acknowledged(intake_), (Position{"a", 2}));
}

TEST_F(DeliveryTest, DoesNotAcknowledgeThePositionOfAnotherRun) {
  send({"a", 1}, web("10.0.0.1:80"));
  ASSERT_TRUE(next());
  delivery_.applied();
  intake_.down(0, kStart);
  intake_.up(0, {"b", 1}, kStart);
  (void)intake_.decide(kStart, 0);
  send({"b", 1}, web("10.0.0.1:80"), 200);
  EXPECT_FALSE(delivery_.acknowledged(intake_));
  EXPECT_FALSE(next());
  EXPECT_EQ(delivery_.acknowledged(intake_), (Position{"b", 1}));
}

}  // namespace
}  // namespace lb::relay
