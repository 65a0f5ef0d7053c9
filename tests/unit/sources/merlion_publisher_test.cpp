#include "sources/merlion_publisher.h"

#include <fmt/format.h>

#include "unit/sources/publisher_fixture.h"

namespace lb {
namespace {

INSTANTIATE_TEST_SUITE_P(Api, MerlionPublisherTest, testing::Values(ApiVersion::V3, ApiVersion::V2),
                         [](const auto& param) {
                           return param.param == ApiVersion::V2 ? "V2" : "V3";
                         });

TEST_P(MerlionPublisherTest, ASingleLbdWritesItsOwnAndMerlionsKeysAtOnce) {
  const auto one = lbd("h1");
  settle(*one);
  EXPECT_EQ(own("h1"), kHealthy);
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(holder(), "h1");
  EXPECT_TRUE((*one)->holds_claim());
  EXPECT_EQ((*one)->error(), "");
  for (const auto& [key, entry] : store_.entries) EXPECT_NE(entry.lease, 0) << key;
}

TEST_P(MerlionPublisherTest, WritesWhatHasChangedAndNothingElse) {
  const auto one = lbd("h1");
  settle(*one);
  store_.log.clear();
  settle(*one);
  EXPECT_EQ(store_.log, Names{});
  one->wanted.state["a"] = exited();
  settle(*one);
  std::sort(store_.log.begin(), store_.log.end());
  EXPECT_EQ(
      store_.log,
      (Names{"put /s/backends/a/exit-reason", "put /s/backends/a/exited-at",
             "put /s/backends/a/unavailable", "put /s/hosts/h1/backends/a/exit-reason",
             "put /s/hosts/h1/backends/a/exited-at", "put /s/hosts/h1/backends/a/unavailable"}));
  one->wanted.state["a"] = healthy();
  settle(*one);
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
  one->wanted.state.clear();
  settle(*one);
  EXPECT_EQ(store_.values(), (Values{{"/s/publisher", "h1"}}));
}

TEST_P(MerlionPublisherTest, TheLeaseIsKeptForAsLongAsLbdLives) {
  const auto one = lbd("h1");
  settle(*one);
  store_.log.clear();
  pass(10min, {one.get()});
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
  EXPECT_EQ(Names(store_.log.size(), "keep alive"), store_.log);  // three times a minute
  EXPECT_EQ(store_.log.size(), 30U);
  now_ += 60s;
  store_.expire(now_);
  EXPECT_EQ(store_.values(), Values{});
}

TEST_P(MerlionPublisherTest, MerlionsOwnLeftoversAreReplaced) {
  store_.entries["/s/backends/a/exit-reason"] = {"of last year", 0};
  store_.entries["/s/backends/unknown/exit-reason"] = {"of last year", 0};
  const auto one = lbd("h1");
  settle(*one);
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(flat("unknown").size(), 1U);
}

TEST_P(MerlionPublisherTest, AnEtcdThatFailsIsTriedAgainElsewhereAndTheLatestStateWins) {
  auto one = lbd("h1", {"e1", "e2"});
  settle(*one);
  store_.down = {{"e1", ECONNREFUSED}, {"e2", ECONNREFUSED}};
  store_.asked.clear();
  one->wanted.state["a"] = exited();
  look(*one);
  EXPECT_NE((*one)->error().find("e1"), std::string::npos) << (*one)->error();
  EXPECT_GT((*one)->not_before(), now_);
  pass(5min, {one.get()});
  EXPECT_NE((*one)->error(), "");
  EXPECT_EQ(std::set<std::string>(store_.asked.begin(), store_.asked.end()),
            (std::set<std::string>{"e1", "e2"}));
  // Sixteen at once for the first look, then one each 5 to 10 s.
  EXPECT_LT(store_.asked.size(), 130U);
  one->wanted.state = {{"b", healthy()}};
  store_.down.erase("e2");
  pass(2 * etcd::Retry::kLongest, {one.get()});
  EXPECT_EQ((*one)->error(), "");
  EXPECT_EQ(flat("b"), kHealthy);
  EXPECT_EQ(flat("a"), Values{});
}

TEST_P(MerlionPublisherTest, AWriteWhoseAnswerWasLostIsMadeAgain) {
  auto one = lbd("h1");
  int losses = 3;
  store_.loses_answer = [&](const std::string&) { return losses-- > 0; };
  pass(5s, {one.get()});
  EXPECT_EQ(holder(), "h1");
  EXPECT_TRUE((*one)->holds_claim());
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
}

TEST_P(MerlionPublisherTest, AnotherPrefixWithdrawsWhatWasWritten) {
  auto one = lbd("h1");
  store_.entries["/s/note"] = {"somebody's", 0};
  settle(*one);
  one->wanted.prefix = "/t";
  settle(*one);
  EXPECT_EQ(store_.values("/s"), (Values{{"/note", "somebody's"}}));
  EXPECT_EQ(store_.values("/t/backends/a/"), kHealthy);
  one->wanted.prefix.clear();
  settle(*one);
  EXPECT_EQ(store_.values(), (Values{{"/s/note", "somebody's"}}));
  pass(5min, {one.get()});
  one->wanted.prefix = "/s";
  settle(*one);
  EXPECT_EQ(flat(), kHealthy);
}

TEST_P(MerlionPublisherTest, AWithdrawalThatFailsDoesNotHoldUpWhatIsNew) {
  auto one = lbd("h1", {"e1", "e2", "e3"});
  settle(*one);
  store_.down = {{"e1", EACCES}, {"e2", EACCES}};
  one->wanted.prefix = "/t";
  pass(5s, {one.get()});
  EXPECT_EQ(store_.values("/s"), Values{});  // by the third
  store_.down = {{"e1", EACCES}, {"e2", EACCES}, {"e3", EACCES}};
  one->wanted.prefix = "/u";
  pass(1s, {one.get()});  // one try at each, and the pauses between them
  store_.down.clear();
  pass(5s, {one.get()});
  EXPECT_EQ(store_.values("/u/backends/a/"), kHealthy);
  EXPECT_NE(store_.values("/t"), Values{});
  pass(60s, {one.get()});
  EXPECT_EQ(store_.values("/t"), Values{});  // with their lease
}

TEST_P(MerlionPublisherTest, NamesThatAreNoPartOfAKeyAreLeftOut) {
  auto one = lbd("h1");
  one->wanted.state = {{"", healthy()}, {"a/b", healthy()}, {"..", healthy()}, {"c", healthy()}};
  settle(*one);
  EXPECT_EQ(flat("c"), kHealthy);
  EXPECT_EQ(store_.entries.size(), 2 * kHealthy.size() + 1);
  EXPECT_EQ((*one)->error(), "");
}

TEST_P(MerlionPublisherTest, AHostNameThatIsNoPartOfAKeyIsAnError) {
  const auto one = lbd("h/1");
  look(*one);
  EXPECT_NE((*one)->error().find("'h/1'"), std::string::npos) << (*one)->error();
  EXPECT_EQ(store_.values(), Values{});
}

TEST_P(MerlionPublisherTest, ManyBackendsAreWrittenSixteenAtATime) {
  auto one = lbd("h1");
  for (int i = 0; i < 500; ++i) one->wanted.state[fmt::format("b{}", i)] = healthy();
  settle(*one);
  EXPECT_EQ(store_.entries.size(), 2 * 3 * 501U + 1);
  EXPECT_EQ(store_.most_in_flight, 16);
  store_.log.clear();
  pass(2min, {one.get()});
  EXPECT_EQ(store_.entries.size(), 2 * 3 * 501U + 1);
  for (const std::string& line : store_.log) EXPECT_EQ(line, "keep alive");
}

TEST_P(MerlionPublisherTest, WhatOthersRemoveOrOverwriteComesBack) {
  auto one = lbd("h1");
  one->wanted.state["b"] = healthy();
  settle(*one);
  store_.entries.erase("/s/backends/a/weight");
  store_.entries["/s/hosts/h1/backends/b/weight"] = {"7", 0};
  pass(61s, {one.get()});
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1", "b"), kHealthy);
}

TEST_P(MerlionPublisherTest, LooksAtOnceAfterAQuietTimeAndThenWithPauses) {
  auto one = lbd("h1");
  for (int i = 0; i < 100; ++i) one->wanted.state[fmt::format("b{}", i)] = healthy();
  settle(*one);
  pass(5s, {one.get()});
  one->wanted.state["a"] = exited();
  settle(*one);
  EXPECT_EQ((*one)->not_before(), now_ + 12ms);  // six keys
  for (auto& [name, state] : one->wanted.state) state.disabled = true;
  settle(*one);
  EXPECT_EQ((*one)->not_before(), now_ + 100ms);
}

// As when a prefix moves from v2 to v3.
TEST(MerlionPublisherApiTest, AChangedApiWithdrawsFromTheOldStore) {
  std::chrono::steady_clock::time_point now{1'000h};
  const Clocks clocks{[] { return SysTime(5s); }, [&] { return now; }};
  test::FakeStore old_store, new_store;
  test::FakeEtcd v2{old_store, ApiVersion::V2, now}, v3{new_store, ApiVersion::V3, now};
  asio::io_context io{1};
  MerlionPublisher::Wanted wanted{"/s", ApiVersion::V2, {{"a", healthy()}}};
  MerlionPublisher::Etcd access;
  access.api = [&](ApiVersion v) -> etcd::Api& {
    if (v == ApiVersion::V2) return v2;
    return v3;
  };
  access.endpoints = {"e1"};
  MerlionPublisher publisher(io, access, "h1", clocks, [&] { return wanted; });
  const auto look = [&] {
    spawn(io, "look", [&]() -> asio::awaitable<void> {
      for (int i = 0; i < 5; ++i) co_await publisher.look();
    });
    io.restart();
    io.run();
  };
  look();
  EXPECT_EQ(old_store.values("/s/backends/a/"), kHealthy);
  wanted.api = ApiVersion::V3;
  look();
  EXPECT_EQ(old_store.values(), Values{});
  EXPECT_EQ(new_store.values("/s/backends/a/"), kHealthy);
}

}  // namespace
}  // namespace lb
