// What a listener tells its updaters: orders, how far they are, and counts.
#include "netns/relay/listener_fixture.h"

namespace lb::test {
namespace {

FleetOrder order(const std::string& target, const std::string& id, int second, bool drain = true) {
  FleetOrder out;
  out.id = id;
  out.time = SysTime(std::chrono::seconds(1'700'000'000 + second));
  out.target = target;
  out.drain = drain;
  return out;
}

relay::Counts::Item count(const std::string& backend, std::uint64_t connections) {
  return {ServiceKey::parse("127.0.0.1:8080").value(), Address::parse(backend).value(),
          connections};
}

class ListenerFleet : public ListenerTest {
 protected:
  void listen_to(std::size_t updaters) {
    for (std::size_t i = 0; i < updaters; ++i) start(i);
    for (std::size_t i = 0; i < updaters; ++i) publish(i, web({"10.0.0.1:80"}));
    listen();
    ASSERT_TRUE(all_connected());
    ASSERT_TRUE(sees({"10.0.0.1:80"}));
  }
  // What this updater knows of the target; "" when nothing.
  std::string known_at(std::size_t index, const std::string& target) {
    const auto* known = updaters_[index]->orders.find(target, "");
    return known == nullptr ? "" : known->order.id;
  }
  void give(std::size_t index, const FleetOrder& order) {
    ASSERT_TRUE(updaters_[index]->orders.adopt(order));
    server(index).orders_changed();
  }
};

TEST_F(ListenerFleet, AdoptsAnOrderFromOneUpdaterAndPassesItOnToTheOthers) {
  listen_to(3);
  give(1, order("host-7", "a", 1));
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }));
  EXPECT_EQ(orders_.find("host-7", "")->order.id, "a");
  EXPECT_TRUE(
      reaches([&] { return known_at(0, "host-7") == "a" && known_at(2, "host-7") == "a"; }));
  EXPECT_EQ(orders_changed_, 1);
  give(2, order("host-7", "b", 2, false));
  EXPECT_TRUE(
      reaches([&] { return known_at(0, "host-7") == "b" && known_at(1, "host-7") == "b"; }));
  EXPECT_EQ(orders_.find("host-7", "")->order.id, "b");
}

TEST_F(ListenerFleet, TellsAnUpdaterThatHasForgottenThem) {
  listen_to(1);
  give(0, order("10.0.0.1:80", "a", 1));
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }));
  kill(0);
  updaters_[0]->orders = FleetOrders();
  start(0);
  EXPECT_TRUE(reaches([&] { return known_at(0, "10.0.0.1:80") == "a"; }));
}

TEST_F(ListenerFleet, ANewerUndrainOfAnUpdaterIsNotUndoneByAListener) {
  listen_to(1);
  give(0, order("host-7", "a", 1));
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }));
  kill(0);
  ASSERT_TRUE(updaters_[0]->orders.adopt(order("host-7", "b", 2, false)));
  start(0);
  EXPECT_TRUE(reaches([&] { return orders_.find("host-7", "")->order.id == "b"; }));
  EXPECT_EQ(known_at(0, "host-7"), "b");
}

TEST_F(ListenerFleet, PassesOnOrdersThatCameByAnotherWay) {
  listen_to(2);
  ASSERT_TRUE(orders_.adopt(order("host-9", "x", 1)));
  source_->orders_changed();
  EXPECT_TRUE(
      reaches([&] { return known_at(0, "host-9") == "x" && known_at(1, "host-9") == "x"; }));
  EXPECT_EQ(orders_changed_, 0);
}

TEST_F(ListenerFleet, ReportsOnOrdersToEveryUpdaterAtOnceAndAfterAReconnect) {
  listen_to(2);
  const std::vector<relay::OrderReport::Item> report{{"a", true, false, 3}};
  source_->set_order_report(report);
  EXPECT_TRUE(
      reaches([&] { return view_at(0)->orders == report && view_at(1)->orders == report; }, 2s));
  kill(0);
  start(0);
  EXPECT_TRUE(reaches([&] { return view_at(0) && view_at(0)->orders == report; }));
}

TEST_F(ListenerFleet, TellsCountsToEveryUpdaterAndAfterAReconnectAllOfThem) {
  listen_to(2);
  const std::vector<relay::Counts::Item> both{count("10.0.0.1:80", 5), count("10.0.0.2:80", 6)};
  source_->set_counts({both[1], count("10.0.0.3:80", 0), both[0]});
  EXPECT_TRUE(reaches([&] { return view_at(0)->counts == both && view_at(1)->counts == both; }));
  kill(0);
  start(0);
  EXPECT_TRUE(reaches([&] { return view_at(0) && view_at(0)->counts == both; }, 4s));
  source_->set_counts({both[0]});
  EXPECT_TRUE(reaches([&] {
    return view_at(0)->counts == std::vector{both[0]} && view_at(1)->counts == std::vector{both[0]};
  }));
}

TEST_F(ListenerFleet, AFleetDrainIsDrainedWhenTheListenerHasNoConnectionLeft) {
  listen_to(2);
  const FleetOrder drain = order("10.0.0.1:80", "a", 1);
  give(0, drain);
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }));
  source_->set_order_report({{"a", true, false, 2}});
  EXPECT_TRUE(reaches([&] { return server(1).progress(drain).connections == 2; }));
  EXPECT_FALSE(server(1).progress(drain).drained);
  source_->set_order_report({{"a", true, false, 0}});
  EXPECT_TRUE(reaches([&] { return server(1).progress(drain).drained; }));
  EXPECT_TRUE(server(0).progress(drain).drained);
}

// Once a step for each of them, and a copy of all in each step.
TEST_F(ListenerFleet, ManyOrdersInOneMessageAreOneStep) {
  FakeUpdater updater(io_, hello_of("e"));
  listen({updater.at()});
  ASSERT_TRUE(all_connected());
  relay::Orders many;
  for (int i = 0; i < 3'000; ++i)
    many.orders.push_back(order("host-" + std::to_string(i), "id-" + std::to_string(i), i));
  const auto version = orders_.version();
  updater.say(relay::encode(many));
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }, 60s));
  run_for(10ms);
  EXPECT_EQ(orders_.all().size(), 3'000U);
  EXPECT_EQ(orders_.version(), version + 1);
  EXPECT_EQ(orders_changed_, 1);
}

// What one peer has made all of them save must not keep them from coming back.
TEST_F(ListenerFleet, AListenerWithMoreOrdersThanAHelloTakesIsServed) {
  std::vector<FleetOrder> many;
  for (int i = 0; i < 3'000; ++i) {
    many.push_back(order("host-" + std::to_string(i), "id-" + std::to_string(i), i));
    many.back().service = std::string(250, 's');
  }
  ASSERT_TRUE(orders_.hear(many, sys_now()).changed);
  listen_to(1);
  EXPECT_TRUE(reaches([&] { return updaters_[0]->orders.all().size() == 3'000; }, 60s));
  EXPECT_TRUE(source_->updaters().at(0).connected);
}

TEST_F(ListenerFleet, AnUpdatersOrderOverTheLimitsIsNotKept) {
  FakeUpdater updater(io_, hello_of("e"));
  listen({updater.at()});
  ASSERT_TRUE(all_connected());
  FleetOrder far = order("host-2", "far", 0);
  far.time = sys_now() + std::chrono::hours(25);
  updater.say(relay::encode(relay::Orders{
      {order(std::string(2'000'000, 'x'), "huge", 1), far, order("host-1", "good", 1)}}));
  ASSERT_TRUE(reaches([&] { return orders_changed_ > 0; }));
  ASSERT_EQ(orders_.all().size(), 1U);
  EXPECT_EQ(orders_.all()[0].order.id, "good");
  EXPECT_TRUE(source_->updaters().at(0).connected);
}

}  // namespace
}  // namespace lb::test
