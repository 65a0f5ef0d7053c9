#include "relay/departed.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/limits.h"

namespace lb::relay {
namespace {

using std::chrono::minutes;

const Departed::TimePoint kStart{};

ListenerView gone(std::string node, std::size_t reports = 0) {
  ListenerView out;
  out.node = std::move(node);
  out.counts.resize(1000);
  for (std::size_t i = 0; i < reports; ++i)
    out.orders.push_back({fmt::format("{:06}", i), true, false, 1});
  out.orders.push_back({"z", true, true, 0});
  return out;
}

TEST(Departed, KeepsOfAListenerThatItIsAwayAndWhatItsDrainsHadLeft) {
  Departed departed;
  departed.add(gone("n", 2), "10.0.0.1", kStart);
  departed.for_each([](const ListenerView& view, const std::string& host, auto) {
    EXPECT_EQ(host, "10.0.0.1");
    EXPECT_TRUE(view.counts.empty());
    EXPECT_EQ(view.orders.size(), 2U);
  });
  EXPECT_EQ(departed.reports(), 2U);
  departed.returned("n", "10.0.0.2");
  EXPECT_EQ(departed.size(), 1U);
  departed.returned("n", "10.0.0.1");
  EXPECT_EQ(departed.size() + departed.reports(), 0U);
}

TEST(Departed, ForgetsAfterTenMinutes) {
  Departed departed;
  departed.add(gone("a"), "10.0.0.1", kStart);
  departed.add(gone("b"), "10.0.0.1", kStart + minutes(5));
  departed.forget(kStart + minutes(10));
  EXPECT_EQ(departed.size(), 2U);
  departed.forget(kStart + minutes(11));
  EXPECT_EQ(departed.size(), 1U);
}

// Ever new names cost neither memory nor the memory of the others.
TEST(Departed, OneAddressLeavesBehindSoManyAndNoMore) {
  Departed departed;
  departed.add(gone("real"), "10.0.0.1", kStart);
  for (int i = 0; i < 20'000; ++i)
    departed.add(gone(fmt::format("x{}", i), 50), "10.0.0.66", kStart);
  EXPECT_EQ(departed.size(), limits::kGonePerAddress + 1);
  EXPECT_LE(departed.reports(), limits::kGoneReports);
  bool there = false;
  departed.for_each([&](const ListenerView& view, const std::string&, auto) {
    there = there || view.node == "real";
  });
  EXPECT_TRUE(there);
}

TEST(Departed, ManyAddressesLeaveBehindSoManyAndNoMore) {
  Departed departed;
  departed.add(gone("real"), "10.255.0.1", kStart);
  for (unsigned i = 0; i < 12'000; ++i)
    departed.add(gone("x" + std::to_string(i % 3)),
                 fmt::format("10.{}.{}.1", i / 3 % 7, i / 21 % 250), kStart);
  for (unsigned i = 0; i < 11'000; ++i)
    departed.add(gone("y" + std::to_string(i)), fmt::format("10.9.{}.1", i % 20), kStart);
  EXPECT_LE(departed.size(), limits::kGone);
  bool there = false;
  departed.for_each([&](const ListenerView& view, const std::string&, auto) {
    there = there || view.node == "real";
  });
  EXPECT_TRUE(there);
}

}  // namespace
}  // namespace lb::relay
