#include "relay/feed.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "support/snapshot_builder.h"
#include "unit/relay/compare.h"

namespace lb::relay {
namespace {

ServicePtr web(int port) {
  return offered("10.0.0.5:80", {listed(fmt::format("10.1.0.1:{}", port)), listed("10.1.0.2:80")});
}
SourceMark mark(const char* revision, int second) {
  return {"file", revision, SysTime(std::chrono::seconds(second)),
          SysTime(std::chrono::seconds(second)), true};
}

TEST(StateFeed, CountsOnlyChangesOfServices) {
  StateFeed feed("e");
  EXPECT_EQ(feed.at(), (Position{"e", 0}));
  EXPECT_TRUE(feed.publish({}, {}));  // no service at all is a state, too
  EXPECT_EQ(feed.at().sequence, 1u);
  EXPECT_FALSE(feed.publish({}, {mark("a", 1)}));
  EXPECT_TRUE(feed.publish({web(1)}, {}));
  EXPECT_FALSE(feed.publish({web(1)}, {}));  // equal, elsewhere
  EXPECT_EQ(feed.at().sequence, 2u);
}

TEST(StateFeed, NamesOnlyTheBackendsThatChanged) {
  const Delta delta = make_delta({web(1)}, {web(2)});
  EXPECT_TRUE(delta.changed.empty());
  ASSERT_EQ(delta.patched.size(), 1u);
  EXPECT_EQ(delta.patched[0].gone, std::vector{Address::parse("10.1.0.1:1").value()});
  EXPECT_EQ(delta.patched[0].set, std::vector{listed("10.1.0.1:2")});
  EXPECT_TRUE(delta.removed.empty());
}

TEST(StateFeed, SendsAServiceWholeWhenMoreThanBackendsChanged) {
  auto renamed = std::make_shared<Service>(*web(1));
  renamed->name = "other";
  const Delta delta = make_delta({web(1)}, {renamed});
  EXPECT_TRUE(delta.patched.empty());
  EXPECT_EQ(delta.changed, std::vector<ServicePtr>{renamed});
}

TEST(StateFeed, EncodesEachMessageOnce) {
  StateFeed feed("e");
  feed.publish({web(1)}, {mark("a", 1)});
  EXPECT_EQ(feed.next(std::nullopt).line, feed.next(std::nullopt).line);
  feed.publish({web(2)}, {mark("b", 2)});
  EXPECT_EQ(feed.next(1).line, feed.next(1).line);
  EXPECT_EQ(feed.next(1).sequence, 2u);
}

TEST(StateFeed, SendsSnapshotsWithTheNewestMarks) {
  StateFeed feed("e");
  feed.publish({web(1)}, {mark("a", 1)});
  const Line first = feed.next(std::nullopt).line;
  feed.mark({mark("a", 9)});
  EXPECT_NE(*feed.next(std::nullopt).line, *first);
  EXPECT_NE(feed.next(std::nullopt).line->find("00:00:09"), std::string::npos);
}

TEST(StateFeed, GoesOnFromAnyRecentState) {
  StateFeed feed("e");
  for (int i = 1; i <= 10; ++i) feed.publish({web(i)}, {});
  EXPECT_TRUE(feed.knows({"e", 10}));
  EXPECT_TRUE(feed.knows({"e", 1}));
  EXPECT_FALSE(feed.knows({"e", 11}));
  EXPECT_FALSE(feed.knows({"e", 0}));
  EXPECT_FALSE(feed.knows({"f", 5}));
  EXPECT_TRUE(feed.next(3).line->starts_with(R"({"t":"delta","epoch":"e","seq":10,"base":3)"));
}

TEST(StateFeed, ForgetsOldStatesAndSendsSnapshotsInstead) {
  StateFeed feed("e");
  for (int i = 1; i <= 100; ++i) feed.publish({web(i)}, {});
  EXPECT_FALSE(feed.knows({"e", 1}));
  EXPECT_TRUE(feed.knows({"e", 99}));
  EXPECT_TRUE(feed.next(1).line->starts_with(R"({"t":"snapshot")"));
}

TEST(StateFeed, KeepsFewStatesThatShareNothing) {
  StateFeed feed("e");
  for (int round = 1; round <= 20; ++round) {
    std::vector<Backend> backends;
    for (int i = 1; i <= 10'000; ++i) {
      Backend backend;
      backend.address = {IpAddress::v4(0x0a000000u + static_cast<std::uint32_t>(i)), 80};
      backend.weight = static_cast<std::uint32_t>(round);
      backends.push_back(std::move(backend));
    }
    feed.publish({offered("10.0.0.5:80", std::move(backends))}, {});
  }
  EXPECT_TRUE(feed.knows({"e", 19}));
  EXPECT_FALSE(feed.knows({"e", 15}));
}

TEST(StateFeed, PingsWithTheOldestReading) {
  StateFeed feed("e");
  EXPECT_TRUE(feed.ping().ok);
  EXPECT_FALSE(feed.ping().read_at);
  SourceMark ill = mark("b", 5);
  ill.ok = false;
  feed.publish({}, {mark("a", 9), ill});
  EXPECT_FALSE(feed.ping().ok);
  EXPECT_EQ(feed.ping().read_at, SysTime(std::chrono::seconds(5)));
}

}  // namespace
}  // namespace lb::relay
