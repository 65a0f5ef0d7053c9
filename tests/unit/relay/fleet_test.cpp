#include "relay/fleet.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/limits.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

SysTime at(int second) { return SysTime(seconds(second)); }

FleetOrder order(std::string id, int second, bool drain = true, std::string target = "10.0.0.1:80",
                 std::string service = "") {
  return {std::move(id), at(second), std::move(target), std::move(service), drain, {}};
}

// Takes unsigned orders: these tests are about what comes after.
FleetOrders opened(const std::string& path) {
  FleetOrders orders = FleetOrders::open(path).value();
  orders.change_keys([](OrderKeys& keys) {
    keys = OrderKeys();
    return false;
  });
  return orders;
}

TEST(FleetOrders, TakesTheNewerOfTwoForOneTarget) {
  FleetOrders orders;
  EXPECT_TRUE(orders.adopt(order("a", 10)).value());
  EXPECT_FALSE(orders.adopt(order("a", 10)).value());
  EXPECT_FALSE(orders.adopt(order("b", 9, false)).value());
  EXPECT_TRUE(orders.find("10.0.0.1:80", "")->order.drain);
  EXPECT_TRUE(orders.adopt(order("c", 11, false)).value());
  EXPECT_FALSE(orders.find("10.0.0.1:80", "")->order.drain);
  EXPECT_FALSE(orders.adopt(order("a", 10)).value());  // somebody who was away still has it
  EXPECT_EQ(orders.all().size(), 1u);
}

TEST(FleetOrders, DecidesAlikeWhateverComesFirst) {
  FleetOrders one, two;
  ASSERT_TRUE(one.adopt(order("a", 10)) && one.adopt(order("b", 10, false)));
  ASSERT_TRUE(two.adopt(order("b", 10, false)) && two.adopt(order("a", 10)));
  EXPECT_EQ(one.all(), two.all());
  EXPECT_EQ(one.all()[0].order.id, "b");
}

TEST(FleetOrders, KeepsOrdersOfOtherServicesApart) {
  FleetOrders orders;
  EXPECT_TRUE(orders
                  .hear({order("a", 10), order("b", 11, true, "10.0.0.1:80", "web"),
                         order("c", 9, true, "host")},
                        at(100))
                  .changed);
  EXPECT_EQ(orders.all().size(), 3u);
  EXPECT_EQ(orders.version(), 1u);  // passed on once
  EXPECT_EQ(orders.find("10.0.0.1:80", "web")->order.id, "b");
  EXPECT_EQ(orders.find("nobody", ""), nullptr);
}

TEST(FleetOrders, SurvivesARestart) {
  const TempFolder folder;
  const std::string path = folder.file("fleet.json");
  FleetOrder full = order("a", 10, true, "10.0.0.1:80", "web");
  full.ids = {"t1", "t2"};
  {
    FleetOrders orders = FleetOrders::open(path).value();
    ASSERT_TRUE(orders.adopt(full).value());
    ASSERT_TRUE(orders.adopt(order("b", 11, false, "host")).value());
    ASSERT_TRUE(orders.end("a", at(20)));
    const auto save = orders.unsaved();
    ASSERT_TRUE(save);
    ASSERT_TRUE(save());
    EXPECT_FALSE(orders.has_unsaved());
  }
  const FleetOrders orders = FleetOrders::open(path).value();
  ASSERT_EQ(orders.all().size(), 2u);
  EXPECT_EQ(orders.all()[0], (FleetOrders::Known{full, true, at(20)}));
  EXPECT_EQ(orders.all()[1], (FleetOrders::Known{order("b", 11, false, "host"), false, {}}));
}

TEST(FleetOrders, DoesNotReviveAnOrderThatHasEndedHere) {
  FleetOrders orders;
  ASSERT_TRUE(orders.adopt(order("a", 10)).value());
  ASSERT_TRUE(orders.end("a", at(20)));
  EXPECT_FALSE(orders.adopt(order("a", 10)).value());
  EXPECT_TRUE(orders.all()[0].ended);
  const auto version = orders.version();
  ASSERT_TRUE(orders.end("a", at(30)));
  EXPECT_EQ(orders.all()[0].ended_at, at(20));
  EXPECT_EQ(orders.version(), version);
  EXPECT_TRUE(orders.adopt(order("b", 15)).value());  // drained anew
  EXPECT_FALSE(orders.all()[0].ended);
}

TEST(FleetOrders, ForgetsAfterAWeekWhatIsOver) {
  FleetOrders orders;
  EXPECT_TRUE(orders
                  .hear({order("drain", 0), order("undrain", 0, false, "host"),
                         order("ended", 0, true, "10.0.0.2:80")},
                        at(100))
                  .changed);
  ASSERT_TRUE(orders.end("ended", at(3600)));
  (void)orders.prune(at(0) + hours(24 * 7));
  EXPECT_EQ(orders.all().size(), 3u);
  (void)orders.prune(at(1) + hours(24 * 7));
  EXPECT_EQ(orders.find("host", ""), nullptr);
  (void)orders.prune(at(3601) + hours(24 * 7));
  ASSERT_EQ(orders.all().size(), 1u);
  EXPECT_EQ(orders.all()[0].order.id, "drain");
}

TEST(FleetOrders, PutsABrokenFileAside) {
  const TempFolder folder;
  const std::string path = folder.write("fleet.json", R"({"version":1,"orders":[{"id":"a"}]})");
  const auto broken = FleetOrders::open(path);
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message().find(path), std::string::npos);
  EXPECT_TRUE(folder.has("fleet.json.broken"));
  EXPECT_TRUE(FleetOrders::open(path).value().all().empty());
}

TEST(FleetOrders, WhatCannotBeSavedIsInForceAndHandedOutAgain) {
  const TempFolder folder;
  FleetOrders orders = FleetOrders::open(folder.file("none/fleet.json")).value();
  EXPECT_TRUE(orders.adopt(order("a", 10)).value());
  EXPECT_EQ(orders.all().size(), 1u);
  const auto save = orders.unsaved();
  ASSERT_TRUE(save);
  EXPECT_FALSE(save());
  EXPECT_FALSE(orders.has_unsaved());
  orders.save_failed();
  EXPECT_TRUE(orders.has_unsaved());
}

TEST(FleetOrders, RefusesEndlessOrders) {
  FleetOrders orders;
  std::vector<FleetOrder> many;
  for (int i = 0; i < 10'000; ++i)
    many.push_back(order(std::to_string(i), 1, true, "host-" + std::to_string(i)));
  EXPECT_TRUE(orders.hear(many, at(100)).changed);
  const auto refused = orders.adopt(order("x", 1, true, "one more"));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("one more"), std::string::npos);
  EXPECT_TRUE(orders.adopt(order("y", 2, false, "host-7")).value());  // a known target
}

TEST(FleetOrders, HearsTenThousandInOneStep) {
  const TempFolder folder;
  FleetOrders orders = opened(folder.file("fleet.json"));
  std::vector<FleetOrder> many;
  for (int i = 9'999; i >= 0; --i)
    many.push_back(order(std::to_string(i), 1, true, "host-" + std::to_string(i)));
  const auto heard = orders.hear(many, at(100));
  EXPECT_TRUE(heard.changed);
  EXPECT_EQ(heard.refused, 0U);
  EXPECT_EQ(orders.version(), 1U);
  ASSERT_TRUE(orders.unsaved()());
  EXPECT_FALSE(orders.has_unsaved()) << "one save for all of them";
  EXPECT_FALSE(orders.hear(many, at(100)).changed);
  for (const char* target : {"host-0", "host-777", "host-9999"})
    EXPECT_NE(orders.find(target, ""), nullptr) << target;
  EXPECT_EQ(FleetOrders::open(folder.file("fleet.json")).value().all(), orders.all());
}

// The same target twice in one message, and an undrain of what is known beside orders without room.
TEST(FleetOrders, HearsOfSeveralForOneTargetTheNewestAlone) {
  FleetOrders orders;
  (void)orders.hear({order("b", 2, false), order("c", 3), order("a", 1)}, at(100));
  ASSERT_EQ(orders.all().size(), 1U);
  EXPECT_EQ(orders.all()[0].order.id, "c");
}

TEST(FleetOrders, TakesWhatThereIsRoomForAndEndsWhatIsKnown) {
  FleetOrders orders;
  std::vector<FleetOrder> many;
  for (int i = 0; i < 9'999; ++i)
    many.push_back(order(std::to_string(i), 1, true, "host-" + std::to_string(i)));
  (void)orders.hear(many, at(100));
  const auto heard = orders.hear({order("x", 2, true, "new-1"), order("u", 2, false, "host-7"),
                                  order("y", 2, true, "new-2"), order("z", 2, true, "new-3")},
                                 at(100));
  EXPECT_TRUE(heard.changed);
  EXPECT_EQ(heard.refused, 2U);
  EXPECT_NE(heard.why.find("too much"), std::string::npos);
  EXPECT_EQ(orders.all().size(), 10'000U);
  EXPECT_FALSE(orders.find("host-7", "")->order.drain);
}

TEST(FleetOrders, RefusesAnOrderThatWouldNotFitIntoAMessage) {
  FleetOrders orders;
  const FleetOrder huge = order("huge", 1, true, std::string(2'000'000, 'x'));
  const auto refused = orders.adopt(huge);
  ASSERT_FALSE(refused);
  EXPECT_LT(refused.error().message().size(), 300U);
  const auto heard = orders.hear({huge, order("good", 1)}, at(100));
  EXPECT_EQ(heard.refused, 1U);
  EXPECT_TRUE(heard.changed);
  EXPECT_EQ(orders.all().size(), 1U);
}

TEST(FleetOrders, AllOfThemTogetherHaveALimit) {
  FleetOrders orders;
  std::vector<FleetOrder> many;
  for (int i = 0; i < 2'000; ++i) {
    many.push_back(order(std::to_string(i), 1, true, "host-" + std::to_string(i)));
    for (int j = 0; j < 15; ++j) many.back().ids.push_back(std::string(1'000, 'i') + char('a' + j));
  }
  const auto heard = orders.hear(many, at(100));
  EXPECT_GT(heard.refused, 500U);
  std::size_t size = 0;
  for (const auto& known : orders.all()) size += size_of(known.order);
  EXPECT_LE(size, limits::kOrdersSize);
  // What becomes smaller finds room.
  EXPECT_TRUE(orders.adopt(order("z", 2, false, orders.all()[0].order.target)).value());
}

TEST(FleetOrders, LoadsTheGoodOnesOfAFileOverTheLimitsAndNamesTheOthers) {
  const TempFolder folder;
  const std::string good =
      R"({"id":"good","time":"2026-01-01T00:00:00.000Z","target":"10.0.0.1:80","drain":true})";
  const std::string huge = R"({"id":"huge","time":"2026-01-01T00:00:00.000Z","target":")" +
                           std::string(2'000'000, 'x') + R"(","drain":true})";
  const std::string path = folder.write(
      "fleet.json", R"({"version":1,"orders":[)" + huge + "," + good + "," + huge + "]}");
  FleetOrders orders = FleetOrders::open(path).value();
  ASSERT_EQ(orders.all().size(), 1U);
  EXPECT_EQ(orders.all()[0].order.id, "good");
  EXPECT_NE(orders.dropped().find(path), std::string::npos);
  EXPECT_NE(orders.dropped().find("2 orders"), std::string::npos);
  EXPECT_NE(orders.dropped().find("huge"), std::string::npos);
  EXPECT_LT(orders.dropped().size(), 600U);
  EXPECT_FALSE(folder.has("fleet.json.broken"));
  EXPECT_TRUE(FleetOrders::open(folder.file("none.json")).value().dropped().empty());
}

TEST(FleetOrders, RefusesWhatIsDatedMoreThanADayAhead) {
  FleetOrders orders;
  const SysTime now = at(1'000'000'000);
  FleetOrder ahead = order("a", 0);
  ahead.time = now + hours(24);
  EXPECT_TRUE(orders.hear({ahead}, now).changed) << "a clock may be wrong by a day";
  FleetOrder far = order("b", 0, true, "host");
  far.time = now + hours(24) + seconds(1);
  const auto heard = orders.hear({far}, now);
  EXPECT_FALSE(heard.changed);
  EXPECT_NE(heard.why.find("clock"), std::string::npos);
  far.time = parse_iso8601("9999-12-31T23:59:59.999Z").value();
  EXPECT_EQ(orders.hear({far}, now).refused, 1U);
  EXPECT_EQ(orders.all().size(), 1U);
}

// A host without a clock of its own begins in 1970: what it has refused is told only once.
TEST(FleetOrders, TakesAnOrderThatWasAheadWhenTheClockIsRight) {
  FleetOrders orders;
  FleetOrder today = order("a", 1'000'000'000);
  EXPECT_EQ(orders.hear({today}, at(60)).refused, 1U);
  (void)orders.prune(at(70));
  EXPECT_TRUE(orders.all().empty());
  (void)orders.prune(at(1'000'000'005));
  ASSERT_EQ(orders.all().size(), 1U);
  (void)orders.prune(at(1'000'000'010));
  EXPECT_EQ(orders.version(), 1U);
}

TEST(FleetOrders, AnUndrainFollowsItsOrderEvenPastTheDay) {
  FleetOrders orders;
  const SysTime now = at(1'000'000'000);
  FleetOrder ahead = order("a", 0);
  ahead.time = now + hours(24);
  (void)orders.hear({ahead}, now);
  FleetOrder undrain = order("b", 0, false);
  undrain.time = ahead.time + std::chrono::milliseconds(1);
  EXPECT_TRUE(orders.hear({undrain}, now).changed);
  FleetOrder again = order("c", 0);
  again.time = undrain.time + hours(1);
  EXPECT_EQ(orders.hear({again}, now).refused, 1U) << "it follows, and not by a step";
}

// Saved before there was a limit: in force, and it can be ended, on other lbds and after a restart as well.
TEST(FleetOrders, AnOrderOfTheLastMomentOfTheYear9999CanBeEnded) {
  const TempFolder folder;
  const std::string path = folder.write(
      "fleet.json",
      R"({"version":1,"orders":[{"id":"zz","time":"9999-12-31T23:59:59.999Z","target":"host","drain":true}]})");
  FleetOrders here = opened(path);
  FleetOrders there = opened(path);
  ASSERT_EQ(here.all().size(), 1U);
  FleetOrder undrain = order("u", 0, false, "host");
  undrain.time = here.all()[0].order.time + std::chrono::milliseconds(1);
  ASSERT_TRUE(here.adopt(undrain).value());
  EXPECT_TRUE(there.hear({undrain}, at(1'000'000'000)).changed);
  ASSERT_TRUE(there.unsaved()());
  EXPECT_EQ(FleetOrders::open(path).value().all().at(0).order, undrain);
}

}  // namespace
}  // namespace lb
