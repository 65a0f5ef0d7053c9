#include "relay/progress.h"

#include <gtest/gtest.h>

#include <limits>

#include <fmt/format.h>

#include "base/limits.h"

namespace lb::relay {
namespace {

FleetOrder drain(std::string id) {
  FleetOrder out;
  out.id = std::move(id);
  return out;
}

ListenerView listener(std::string node, std::vector<OrderReport::Item> orders) {
  ListenerView out;
  out.node = std::move(node);
  out.connected = true;
  out.orders = std::move(orders);
  return out;
}

// The sum of these two is 0.
TEST(FleetProgress, IsDoneWhenEachHasReportedNoneAndNotWhenASumIsZero) {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const auto lies = progress_of(
      drain("a"),
      {listener("n1", {{"a", true, false, most - 4}}), listener("n2", {{"a", true, false, 5}})},
      true);
  EXPECT_FALSE(lies.drained);
  EXPECT_TRUE(
      progress_of(drain("a"),
                  {listener("n1", {{"a", true, false, 0}}), listener("n2", {{"a", true, true, 0}})},
                  true)
          .drained);
}

TEST(FleetProgress, IsNotDoneWhereNothingWasReported) {
  const auto one = listener("n1", {{"a", true, false, 0}});
  EXPECT_TRUE(progress_of(drain("a"), {one}, true).drained);
  EXPECT_FALSE(progress_of(drain("a"), {one}, false).drained);
  EXPECT_FALSE(progress_of(drain("a"), {one, listener("n2", {})}, true).drained);
  EXPECT_FALSE(
      progress_of(drain("a"), {one, listener("n2", {{"b", true, true, 0}})}, true).drained);
  auto away = listener("n3", {{"a", true, true, 0}});
  away.connected = false;
  EXPECT_FALSE(progress_of(drain("a"), {one, away}, true).drained);
  auto logger = listener("n4", {});
  logger.observes = true;
  EXPECT_TRUE(progress_of(drain("a"), {one, logger}, true).drained);
}

TEST(OrderReport, ComesInPiecesAndIsBounded) {
  using Items = std::vector<OrderReport::Item>;
  Items all = merged(Items{{"old", true, true, 0}}, {Items{{"b", true, false, 1}}, true});
  EXPECT_EQ(all, (Items{{"b", true, false, 1}}));
  all = merged(std::move(all), {Items{{"a", false, false, 0}, {"b", true, false, 2}}, false});
  EXPECT_EQ(all, (Items{{"a", false, false, 0}, {"b", true, false, 2}}));
  all = merged(std::move(all), {Items{{"c", true, true, 0}}, false});
  EXPECT_EQ(all.size(), 3U);
  OrderReport many{{}, false};
  for (std::size_t i = 0; i < limits::kOrders; ++i)
    many.items.push_back({fmt::format("x{:06}", i), true, false, 0});
  all = merged(std::move(all), many);
  EXPECT_EQ(all.size(), limits::kOrders);
  EXPECT_EQ(all.front().id, "a");
  EXPECT_TRUE(merged(std::move(all), {Items{}, true}).empty());
}

}  // namespace
}  // namespace lb::relay
