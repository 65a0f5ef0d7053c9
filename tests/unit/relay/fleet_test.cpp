#include "relay/fleet.h"

#include <gtest/gtest.h>

#include <chrono>

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
  ASSERT_TRUE(orders.adopt(std::vector{order("a", 10), order("b", 11, true, "10.0.0.1:80", "web"),
                                       order("c", 9, true, "host")}));
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
  ASSERT_TRUE(orders.adopt(std::vector{order("drain", 0), order("undrain", 0, false, "host"),
                                       order("ended", 0, true, "10.0.0.2:80")}));
  ASSERT_TRUE(orders.end("ended", at(3600)));
  ASSERT_TRUE(orders.prune(at(0) + hours(24 * 7)));
  EXPECT_EQ(orders.all().size(), 3u);
  ASSERT_TRUE(orders.prune(at(1) + hours(24 * 7)));
  EXPECT_EQ(orders.find("host", ""), nullptr);
  ASSERT_TRUE(orders.prune(at(3601) + hours(24 * 7)));
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
  ASSERT_TRUE(orders.adopt(many).value());
  const auto refused = orders.adopt(order("x", 1, true, "one more"));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("one more"), std::string::npos);
  EXPECT_TRUE(orders.adopt(order("y", 2, false, "host-7")).value());  // a known target
}

}  // namespace
}  // namespace lb
