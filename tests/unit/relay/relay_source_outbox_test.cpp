#include "relay/outbox.h"

#include <gtest/gtest.h>

namespace lb::relay {
namespace {

using Items = std::vector<Counts::Item>;
using Known = std::vector<FleetOrders::Known>;

Counts::Item count(int port, std::uint64_t connections) {
  const ServiceKey key = ServiceKey::parse("127.0.0.1:8080").value();
  return {key, Address{IpAddress::v4(0x0a000001), static_cast<Port>(port)}, connections};
}

Outbox::CountsPtr counts(Items items) { return std::make_shared<const Items>(std::move(items)); }

FleetOrder order(const std::string& target, const std::string& id, int second) {
  FleetOrder out;
  out.target = target;
  out.id = id;
  out.time = SysTime(std::chrono::seconds(second));
  return out;
}

// All that is to be said now.
std::vector<Message> drain(Outbox& outbox, const Known& orders = {}) {
  std::vector<Message> out;
  while (auto message = outbox.next(orders)) out.push_back(*std::move(message));
  return out;
}

TEST(Outbox, HasNothingToSayOfItself) {
  Outbox outbox;
  outbox.restart({});
  EXPECT_TRUE(drain(outbox).empty());
}

TEST(Outbox, TellsChangesOfCountsAndWhatHasBecomeZero) {
  EXPECT_EQ(count_changes({count(1, 5), count(2, 6), count(4, 1)},
                          {count(2, 7), count(3, 1), count(4, 1)}),
            (Items{count(1, 0), count(2, 7), count(3, 1)}));
  EXPECT_EQ(count_changes({count(1, 5)}, {}), (Items{count(1, 0)}));
  EXPECT_TRUE(count_changes({count(1, 5)}, {count(1, 5)}).empty());
}

TEST(Outbox, TellsTheCountsWithAPingAllOnANewConnectionThenTheChanges) {
  Outbox outbox;
  outbox.restart({});
  outbox.counts(counts({count(1, 5), count(2, 6)}));
  EXPECT_TRUE(drain(outbox).empty());  // no ping is due
  outbox.ping();
  auto said = drain(outbox);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_TRUE(std::get<Counts>(said[0]).complete);
  EXPECT_EQ(std::get<Counts>(said[0]).items, (Items{count(1, 5), count(2, 6)}));
  EXPECT_TRUE(std::holds_alternative<Ping>(said[1]));
  outbox.counts(counts({count(1, 5)}));
  outbox.ping();
  said = drain(outbox);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_FALSE(std::get<Counts>(said[0]).complete);
  EXPECT_EQ(std::get<Counts>(said[0]).items, (Items{count(2, 0)}));
  outbox.restart({});
  outbox.ping();
  said = drain(outbox);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(std::get<Counts>(said[0]).items, (Items{count(1, 5)}));
}

TEST(Outbox, TellsCompleteCountsAlsoWhenThereAreNone) {
  Outbox outbox;
  outbox.restart({});
  outbox.counts(counts({}));
  outbox.ping();
  const auto said = drain(outbox);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_TRUE(std::get<Counts>(said[0]).complete);
}

TEST(Outbox, PingsAloneWhileTheCountsStayTheSame) {
  Outbox outbox;
  outbox.restart({});
  outbox.counts(counts({count(1, 5)}));
  outbox.ping();
  (void)drain(outbox);
  outbox.counts(counts({count(1, 5)}));
  outbox.ping();
  EXPECT_EQ(drain(outbox).size(), 1U);
}

TEST(Outbox, AcknowledgesAPositionOnceAndTheLatestAlone) {
  Outbox outbox;
  outbox.restart({});
  outbox.ack({"e", 1});
  outbox.ack({"e", 2});
  const auto said = drain(outbox);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(std::get<Ack>(said[0]).applied, (Position{"e", 2}));
  outbox.ack({"e", 2});
  EXPECT_TRUE(drain(outbox).empty());
  outbox.restart({});
  outbox.ack({"e", 2});
  EXPECT_EQ(drain(outbox).size(), 1U);
}

TEST(Outbox, ReportsOnOrdersAtOnceAndAgainOnANewConnection) {
  Outbox outbox;
  outbox.restart({});
  const auto report = std::make_shared<const std::vector<OrderReport::Item>>(
      std::vector<OrderReport::Item>{{"id", true, false, 3}});
  outbox.report(report);
  EXPECT_EQ(std::get<OrderReport>(drain(outbox).at(0)).items, *report);
  EXPECT_TRUE(drain(outbox).empty());
  outbox.restart({});
  EXPECT_EQ(drain(outbox).size(), 1U);
}

TEST(Outbox, ANewQuestionReplacesAResync) {
  Outbox outbox;
  outbox.restart({});
  outbox.resync();
  outbox.feed({.wants_state = true, .have = Position{"e", 3}});
  auto said = drain(outbox);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_TRUE(std::get<Feed>(said[0]).wants_state);
  outbox.resync();
  said = drain(outbox);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<Resync>(said[0]));
}

TEST(Outbox, PassesOnOrdersThatTheUpdaterDoesNotKnow) {
  const FleetOrder a = order("10.0.0.1:80", "a", 1);
  const FleetOrder b = order("host-b", "b", 2);
  const FleetOrder c = order("host-c", "c", 3);
  Outbox outbox;
  outbox.restart({a});
  outbox.heard({b});
  outbox.orders_changed();
  const auto said = drain(outbox, {{a}, {b}, {c}});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(std::get<Orders>(said[0]).orders, (std::vector{c}));
  outbox.orders_changed();
  EXPECT_TRUE(drain(outbox, {{a}, {b}, {c}}).empty());
}

TEST(Outbox, PassesOnANewerOrderForATargetThatTheUpdaterKnows) {
  const FleetOrder old = order("host", "a", 1);
  FleetOrder undrain = order("host", "b", 2);
  undrain.drain = false;
  Outbox outbox;
  outbox.restart({});
  outbox.heard({old});
  outbox.orders_changed();
  EXPECT_EQ(std::get<Orders>(drain(outbox, {{undrain}}).at(0)).orders, (std::vector{undrain}));
  // An older one than it has is no news for it.
  outbox.orders_changed();
  EXPECT_TRUE(drain(outbox, {{old}}).empty());
}

}  // namespace
}  // namespace lb::relay
