// Drains of the fleet, and what listeners report.
#include <limits>
#include <set>

#include "base/limits.h"
#include "netns/relay/server_fixture.h"

namespace lb::relay {
namespace {

using ServerFleet = RelayTest;

FleetOrder order(std::string id, int second, bool drain = true) {
  return {std::move(id), SysTime(std::chrono::seconds(second)), "10.1.0.1:80", "", drain, {}};
}

TEST_F(ServerFleet, AdoptsOrdersOfListenersAndTellsTheOthers) {
  ASSERT_TRUE(open());
  const auto one = listener("n1");
  EXPECT_TRUE(hear_a<UpdaterHello>(*one).orders.empty());
  const auto two = listener("n2", {}, false, {order("a", 1)});
  EXPECT_EQ(hear_a<UpdaterHello>(*two).orders, std::vector{order("a", 1)});
  EXPECT_EQ(hear_a<Orders>(*one).orders, std::vector{order("a", 1)});
  EXPECT_EQ(adopted_, 1);
  ASSERT_NE(orders_.find("10.1.0.1:80", ""), nullptr);

  // By way of another updater, and an older one that changes nothing.
  say(*two, Orders{{order("b", 2, false)}});
  EXPECT_EQ(hear_a<Orders>(*one).orders, std::vector{order("b", 2, false)});
  const auto late = listener("n3", {}, false, {order("a", 1)});
  EXPECT_EQ(hear_a<UpdaterHello>(*late).orders, std::vector{order("b", 2, false)});
  EXPECT_EQ(adopted_, 2);
}

TEST_F(ServerFleet, TellsOfOrdersThatWereGivenHere) {
  ASSERT_TRUE(open());
  const auto one = listener("n1", {}, false);
  (void)hear_a<UpdaterHello>(*one);
  ASSERT_TRUE(orders_.adopt(order("a", 1)));
  server_->orders_changed();
  server_->orders_changed();
  EXPECT_EQ(hear_a<Orders>(*one).orders, std::vector{order("a", 1)});
  ASSERT_TRUE(orders_.adopt(order("b", 2)));
  server_->orders_changed();
  EXPECT_EQ(hear_a<Orders>(*one).orders, std::vector{order("b", 2)});
}

// A listener takes no line without an end, and an old one no longer one than it has a limit for.
TEST_F(ServerFleet, TellsOfManyOrdersInPieces) {
  ASSERT_TRUE(open());
  std::vector<FleetOrder> many;
  for (int i = 0; i < 300; ++i)
    many.push_back({"id-" + std::to_string(i),
                    SysTime(std::chrono::seconds(i)),
                    "host-" + std::to_string(i),
                    std::string(250, 's'),
                    true,
                    {}});
  ASSERT_TRUE(orders_.hear(many, sys_now()).changed);
  server_->orders_changed();
  const auto one = listener("n1", {}, false);
  std::set<std::string> heard;
  const auto take = [&](const std::vector<FleetOrder>& orders) {
    EXPECT_LT(encode(Orders{orders}).size(), 2 * limits::kPiece);
    for (const FleetOrder& order : orders)
      EXPECT_TRUE(heard.insert(order.id).second) << order.id << " is told twice";
  };
  take(hear_a<UpdaterHello>(*one).orders);
  while (heard.size() < many.size() && !HasFailure()) take(hear_a<Orders>(*one).orders);
  ASSERT_TRUE(orders_.adopt(order("late", 5)));
  server_->orders_changed();
  EXPECT_EQ(hear_a<Orders>(*one).orders, std::vector{order("late", 5)});
}

TEST_F(ServerFleet, ANumberThatNoKernelCountsEndsTheConnection) {
  ASSERT_TRUE(open());
  const auto one = listener("n1", {}, false);
  (void)hear_a<UpdaterHello>(*one);
  say(*one, OrderReport{{{"a", true, false, std::numeric_limits<std::uint64_t>::max() - 4}}});
  EXPECT_NE(last_words(*one).find("connections"), std::string::npos);
}

TEST_F(ServerFleet, KeepsCountsOfListeners) {
  ASSERT_TRUE(open());
  const auto one = listener("n1", {}, false);
  const ServiceKey key = ServiceKey::parse("10.0.0.5:80").value();
  const auto item = [&](const char* backend, std::uint64_t n) {
    return Counts::Item{key, Address::parse(backend).value(), n};
  };
  const auto counts = [&] { return server_->listeners()[0].counts; };
  ASSERT_TRUE(until([&] { return connected() == 1; }));
  say(*one, Counts{true, {item("10.1.0.1:80", 5), item("10.1.0.2:80", 0)}});
  ASSERT_TRUE(until([&] { return counts() == std::vector{item("10.1.0.1:80", 5)}; }));
  say(*one, Counts{false, {item("10.1.0.0:80", 1), item("10.1.0.1:80", 6)}});
  ASSERT_TRUE(until([&] {
    return counts() == std::vector{item("10.1.0.0:80", 1), item("10.1.0.1:80", 6)};
  }));
  say(*one, Counts{false, {item("10.1.0.0:80", 0)}});
  ASSERT_TRUE(until([&] { return counts() == std::vector{item("10.1.0.1:80", 6)}; }));
  say(*one, Counts{true, {}});
  ASSERT_TRUE(until([&] { return counts().empty(); }));
}

TEST_F(ServerFleet, AddsUpWhatIsLeftOnAllListeners) {
  ASSERT_TRUE(open());
  const auto one = listener("n1", {}, false);
  auto two = listener("n2", {}, false);
  const auto logger = dial().value();
  say(*logger, ListenerHello{kProtocol, "logger", "0.1.0", {}, true, {}, true});
  ASSERT_TRUE(until([&] { return connected() == 3; }));
  const auto progress = [&] { return server_->progress(order("a", 1)); };
  EXPECT_EQ(progress().listeners.size(), 2u);  // nobody waits for a logger
  EXPECT_FALSE(progress().listeners[0].programmed);

  say(*one, OrderReport{{{"a", true, false, 3}, {"other", true, false, 100}}});
  say(*two, OrderReport{{{"a", true, false, 4}}});
  ASSERT_TRUE(until([&] { return progress().connections == 7; }));
  say(*one, OrderReport{{{"a", true, true, 0}}});
  ASSERT_TRUE(until([&] { return progress().connections == 4; }));
  EXPECT_TRUE(progress().listeners[0].ended);

  // What one had when it left is still open, for all that anybody knows.
  two.reset();
  ASSERT_TRUE(until([&] { return connected() == 2; }));
  ASSERT_EQ(progress().listeners.size(), 2u);
  EXPECT_FALSE(progress().listeners[1].connected);
  EXPECT_EQ(progress().connections, 4u);
  EXPECT_FALSE(progress().drained);
  two = listener("n2", {}, false);
  ASSERT_TRUE(until([&] { return connected() == 3; }));
  EXPECT_EQ(server_->listeners().size(), 3u);
  say(*two, OrderReport{{{"a", true, false, 0}}});
  // Not before all have had the time to come back to an updater that has just started.
  ASSERT_TRUE(
      until([&] { return progress().connections == 0 && progress().listeners[1].programmed; }));
  EXPECT_FALSE(progress().drained);
  const auto pings = [&] {
    for (Connection* c : {one.get(), two.get(), logger.get()}) say(*c, Ping{});
    wait(1s);
    return progress().drained;
  };
  EXPECT_TRUE(until(pings, 25s));
}

}  // namespace
}  // namespace lb::relay
