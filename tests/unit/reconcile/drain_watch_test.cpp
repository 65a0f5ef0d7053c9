#include "reconcile/drain_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/desired_builder.h"
#include "support/fake_dataplane.h"

namespace lb {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

class DrainWatchTest : public testing::Test {
 protected:
  DrainWatchTest() {
    for (const ServiceKey& k : {web_, dns_})
      dataplane_.plant({k, {k.address}, Balance::LeastConn, {{one_, 0}, {two_, 100}}});
  }

  DrainWatch::Look look(const ServiceKey& k, bool terminate = false) {
    const std::vector<WatchedBackend> watched{{k, one_, terminate}};
    return watch_.look(watched);
  }

  ServiceKey web_ = key("127.0.0.1:80");
  ServiceKey dns_ = key("udp://127.0.0.1:53");
  Address one_ = addr("10.0.0.1:9000");
  Address two_ = addr("10.0.0.2:9000");
  FakeDataplane dataplane_;
  DrainWatch watch_{dataplane_};
};

TEST_F(DrainWatchTest, FinishesOnlyAtASecondZeroAfterTheDataplaneHasSettled) {
  EXPECT_THAT(look(web_).finished, IsEmpty());
  EXPECT_THAT(dataplane_.calls, ElementsAre("settle"));
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, ConnectionSeenAfterTheFirstZeroKeepsIt) {
  (void)look(web_);
  dataplane_.active[{web_, one_}] = 1;  // it had chosen the backend just before
  EXPECT_THAT(look(web_).finished, IsEmpty());
  dataplane_.active[{web_, one_}] = 0;
  EXPECT_THAT(look(web_).finished, IsEmpty());
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, WhereConnectionsAreNotCountedTheSocketsAre) {
  dataplane_.counts = false;
  dataplane_.active[{web_, one_}] = 2;
  EXPECT_EQ(watch_.connections({web_, one_}).value(), 2U);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(look(web_).finished, IsEmpty());
  dataplane_.active[{web_, one_}] = 0;
  EXPECT_THAT(look(web_).finished, IsEmpty());
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, FinishesNothingWhileTheDataplaneSettles) {
  dataplane_.slow_to_settle = true;
  for (int i = 0; i < 3; ++i) EXPECT_THAT(look(web_).finished, IsEmpty());
  EXPECT_THAT(dataplane_.calls, ElementsAre("settle")) << "one at a time";
  dataplane_.unsettled.at(0)({});
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, ConnectionSeenWhileTheDataplaneSettlesKeepsIt) {
  dataplane_.slow_to_settle = true;
  (void)look(web_);
  dataplane_.active[{web_, one_}] = 1;
  (void)look(web_);
  dataplane_.unsettled.at(0)({});
  dataplane_.active[{web_, one_}] = 0;
  EXPECT_THAT(look(web_).finished, IsEmpty());
  dataplane_.unsettled.at(1)({});
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, BackendThatCameBackInBetweenBeginsAnew) {
  (void)look(web_);
  watch_.keep_only({});  // in use again, and chosen perhaps
  EXPECT_THAT(look(web_).finished, IsEmpty());
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, FailureToSettleIsReportedAndFinishesNothing) {
  dataplane_.slow_to_settle = true;
  (void)look(web_);
  dataplane_.unsettled.at(0)(fail(EPERM, "settle"));
  const auto result = look(web_);
  EXPECT_THAT(result.finished, IsEmpty());
  EXPECT_EQ(result.errors.size(), 1U);
  EXPECT_EQ(dataplane_.unsettled.size(), 2U) << "tried again";
}

TEST_F(DrainWatchTest, WaitsForConnectedUdpSockets) {
  dataplane_.active[{dns_, one_}] = 2;
  (void)look(dns_);
  EXPECT_THAT(look(dns_).finished, IsEmpty());
  dataplane_.active[{dns_, one_}] = 0;
  (void)look(dns_);
  EXPECT_THAT(look(dns_).finished, ElementsAre(DrainWatch::Id{dns_, one_}));
}

TEST_F(DrainWatchTest, FinishesAtOnceWhatTheKernelDoesNotHave) {
  dataplane_.tamper(web_);
  EXPECT_THAT(look(web_).finished, ElementsAre(DrainWatch::Id{web_, one_}));
}

TEST_F(DrainWatchTest, TerminatesOnlyWhatItWasToldToAndUntilNothingIsLeft) {
  dataplane_.active[{web_, one_}] = 5;
  dataplane_.active[{web_, two_}] = 5;
  dataplane_.survivors[{web_, one_}] = 2;
  EXPECT_EQ(look(web_).terminated, 0U);
  EXPECT_EQ(look(web_, true).terminated, 3U);
  EXPECT_EQ(look(web_, true).terminated, 2U);
  (void)look(web_, true);
  EXPECT_THAT(look(web_, true).finished, ElementsAre(DrainWatch::Id{web_, one_}));
  EXPECT_EQ((dataplane_.active[{web_, two_}]), 5U);
  EXPECT_THAT(dataplane_.calls, Not(Contains("terminate 10.0.0.2:9000")));
}

TEST_F(DrainWatchTest, ReadErrorFinishesNothing) {
  dataplane_.failing_reads = true;
  const auto result = look(web_);
  EXPECT_THAT(result.finished, IsEmpty());
  EXPECT_EQ(result.errors.size(), 1U);
}

TEST_F(DrainWatchTest, ALookInPartsFindsTheSameAndSettlesOnce) {
  const std::vector<WatchedBackend> watched{{web_, one_, false}, {dns_, one_, false}};
  const auto always = [] { return true; };
  const auto round = [&] {
    std::vector<DrainWatch::Id> finished;
    for (int part = 0;; ++part) {
      const auto look = watch_.look(watched, always);
      finished.insert(finished.end(), look.finished.begin(), look.finished.end());
      if (!look.more) {
        EXPECT_EQ(part, 1) << "one service each time";
        return finished;
      }
    }
  };
  EXPECT_THAT(round(), IsEmpty());
  EXPECT_THAT(dataplane_.calls, ElementsAre("settle"));
  EXPECT_THAT(round(), ElementsAre(DrainWatch::Id{web_, one_}, DrainWatch::Id{dns_, one_}));
}

TEST_F(DrainWatchTest, WhatComesBackBetweenTwoPartsOfALookBeginsAnew) {
  const std::vector<WatchedBackend> watched{{web_, one_, false}, {dns_, one_, false}};
  const std::vector<WatchedBackend> only_dns{{dns_, one_, false}};
  ASSERT_TRUE(watch_.look(watched, [] { return true; }).more);
  watch_.keep_only(only_dns);
  EXPECT_THAT(watch_.look(only_dns).finished, IsEmpty());
  EXPECT_THAT(watch_.look(watched).finished, ElementsAre(DrainWatch::Id{dns_, one_}));
}

}  // namespace
}  // namespace lb
