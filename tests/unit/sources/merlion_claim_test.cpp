// Who writes Merlion's keys when several lbds share a prefix, when one restarts and when leases run out.
#include "unit/sources/publisher_fixture.h"

namespace lb {
namespace {

class MerlionClaimTest : public MerlionPublisherTest {};

INSTANTIATE_TEST_SUITE_P(Api, MerlionClaimTest, testing::Values(ApiVersion::V3, ApiVersion::V2),
                         [](const auto& param) {
                           return param.param == ApiVersion::V2 ? "V2" : "V3";
                         });

TEST_P(MerlionClaimTest, OneOfSeveralWritesMerlionsKeysAndAnotherOneInheritsThem) {
  const auto one = lbd("h1");
  auto two = lbd("h2");
  two->wanted.state["a"] = exited();
  settle(*one);
  settle(*two);
  pass(5min, {one.get(), two.get()});
  EXPECT_EQ(holder(), "h1");
  EXPECT_FALSE((*two)->holds_claim());
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h2").at("unavailable"), "true");
  // The first one dies.
  pass(60s + 25s, {two.get()});
  EXPECT_EQ(holder(), "h2");
  EXPECT_EQ(own("h1"), Values{});
  EXPECT_EQ(flat().at("exit-reason"), "refused");
  // And comes back.
  const auto again = lbd("h1");
  settle(*again);
  pass(5min, {again.get(), two.get()});
  EXPECT_EQ(holder(), "h2");
  EXPECT_EQ(own("h1"), kHealthy);
  EXPECT_EQ(flat().at("exit-reason"), "refused");
}

TEST_P(MerlionClaimTest, ARestartedLbdTakesItsClaimUpAtOnceAndTidiesUp) {
  {
    auto before = lbd("h1");
    before->wanted.state["a"] = exited();
    settle(*before);
  }
  const auto one = lbd("h1");
  settle(*one);
  EXPECT_TRUE((*one)->holds_claim());
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
  pass(5min, {one.get()});
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(holder(), "h1");
}

TEST_P(MerlionClaimTest, ALostLeaseIsNoticedAndEverythingWrittenAnew) {
  const auto one = lbd("h1");
  settle(*one);
  lose_all_leases();
  ASSERT_EQ(store_.values(), Values{});
  pass(25s, {one.get()});
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
  EXPECT_EQ(holder(), "h1");
  EXPECT_EQ((*one)->error(), "");
}

TEST_P(MerlionClaimTest, WhoSleptTooLongWritesNothingOverTheNextHoldersKeys) {
  auto one = lbd("h1");
  const auto two = lbd("h2");
  settle(*one);
  settle(*two);
  pass(2min, {two.get()});
  ASSERT_EQ(holder(), "h2");
  store_.log.clear();
  one->wanted.state["a"] = exited();
  settle(*one);
  EXPECT_FALSE((*one)->holds_claim());
  EXPECT_EQ(flat(), kHealthy);
  for (const std::string& line : store_.log)
    EXPECT_FALSE(line.starts_with("put /s/backends")) << line;
  EXPECT_EQ(own("h1").at("unavailable"), "true");
}

TEST_P(MerlionClaimTest, WhoDoesNotHoldTheClaimWithdrawsOnlyItsOwn) {
  const auto one = lbd("h1");
  auto two = lbd("h2");
  settle(*one);
  settle(*two);
  two->wanted.prefix.clear();
  settle(*two);
  EXPECT_EQ(own("h2"), Values{});
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(holder(), "h1");
}

TEST_P(MerlionClaimTest, AClaimThatSomebodyRemovedIsFoughtForByNobody) {
  const auto one = lbd("h1");
  auto two = lbd("h2");
  two->wanted.state["a"] = exited();
  settle(*one);
  settle(*two);
  store_.entries.erase("/s/publisher");
  pass(3min, {one.get(), two.get()});
  EXPECT_NE((*one)->holds_claim(), (*two)->holds_claim());
  EXPECT_EQ(flat(), own(holder()));
  store_.log.clear();
  pass(10min, {one.get(), two.get()});
  for (const std::string& line : store_.log) EXPECT_FALSE(line.starts_with("put")) << line;
}

TEST_P(MerlionClaimTest, TwoOfTheSameNameDoNotTakeTheClaimFromEachOtherForEver) {
  const auto one = lbd("h1");
  const auto two = lbd("h1");
  settle(*one);
  settle(*two);
  pass(3min, {one.get(), two.get()});
  store_.log.clear();
  pass(10min, {one.get(), two.get()});
  for (const std::string& line : store_.log)
    EXPECT_FALSE(line.starts_with("put /s/publisher") || line.starts_with("put /s/backends"))
        << line;
}

}  // namespace
}  // namespace lb
