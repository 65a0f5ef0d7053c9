#include "tools/lbctl/register_keys.h"

#include <gtest/gtest.h>

namespace lb::lbctl {
namespace {

using etcd::KeyValue;
using Writes = std::vector<KeyWrite>;

const BackendKeys kKeys{"/svc/web/n1/", "host1:8023"};
const SysTime kNow{std::chrono::milliseconds(1'769'860'800'999)};
constexpr auto kNowText = "2026-01-31T12:00:00+00:00";

KeyValue kv(const std::string& key, const std::string& value) { return {key, value, 1, 0}; }
KeyValue address(const std::string& value) { return kv("/svc/web/n1/listen-address", value); }
const KeyValue kSeen = kv("/svc/web/n1/last-seen-at", "2026-01-31T11:00:00+00:00");
const KeyValue kDisabled = kv("/svc/web/n1/disabled", "true");

const KeyWrite kPutAddress{"/svc/web/n1/listen-address", "host1:8023"};
const KeyWrite kPutSeen{"/svc/web/n1/last-seen-at", kNowText};
const KeyWrite kPutDisabled{"/svc/web/n1/disabled", "true"};
const KeyWrite kRemoveDisabled{"/svc/web/n1/disabled", std::nullopt};

TEST(RegisterKeys, WriteTheTimeAsMerlionsQuickStartDoes) {
  EXPECT_EQ(last_seen_at(kNow), kNowText);
  EXPECT_EQ(last_seen_at(SysTime{}), "1970-01-01T00:00:00+00:00");
}

TEST(RegisterKeys, TheAddressComesBeforeWhatMakesItUsable) {
  EXPECT_EQ(plan_writes(kKeys, {}, Goal::Announced, kNow).writes, (Writes{kPutAddress, kPutSeen}));
}

TEST(RegisterKeys, DisabledOfAnEarlierRunGoesLast) {
  EXPECT_EQ(plan_writes(kKeys, {address("old:1"), kSeen, kDisabled}, Goal::Announced, kNow).writes,
            (Writes{kPutAddress, kPutSeen, kRemoveDisabled}));
  EXPECT_EQ(plan_writes(kKeys, {kDisabled}, Goal::Announced, kNow).writes,
            (Writes{kPutAddress, kPutSeen, kRemoveDisabled}));
}

TEST(RegisterKeys, TheNewcomerTakesTheNameAndSaysFromWhom) {
  const WritePlan plan = plan_writes(kKeys, {address("old:1"), kSeen}, Goal::Announced, kNow);
  EXPECT_EQ(plan.writes, (Writes{kPutAddress, kPutSeen}));
  EXPECT_EQ(plan.other_address, "old:1");
}

TEST(RegisterKeys, ARefreshIsOneWrite) {
  EXPECT_EQ(plan_writes(kKeys, {address("host1:8023"), kSeen}, Goal::Seen, kNow).writes,
            Writes{kPutSeen});
}

TEST(RegisterKeys, ARefreshLeavesAnOperatorsDisabledAlone) {
  EXPECT_EQ(plan_writes(kKeys, {address("host1:8023"), kSeen, kDisabled}, Goal::Seen, kNow).writes,
            Writes{kPutSeen});
}

TEST(RegisterKeys, ARefreshAfterEtcdLostItsDataRegistersAnew) {
  EXPECT_EQ(plan_writes(kKeys, {}, Goal::Seen, kNow).writes, (Writes{kPutAddress, kPutSeen}));
}

TEST(RegisterKeys, WhoseNameWasTakenTouchesNothing) {
  for (const Goal goal : {Goal::Seen, Goal::Disabled, Goal::Gone}) {
    const WritePlan plan = plan_writes(kKeys, {address("new:2"), kSeen}, goal, kNow);
    EXPECT_EQ(plan, (WritePlan{.writes = {}, .remove_folder = false, .other_address = "new:2"}));
  }
}

TEST(RegisterKeys, DisablingIsOneWriteAndMakesNoHalfEntry) {
  EXPECT_EQ(plan_writes(kKeys, {address("host1:8023"), kSeen}, Goal::Disabled, kNow).writes,
            Writes{kPutDisabled});
  EXPECT_EQ(plan_writes(kKeys, {}, Goal::Disabled, kNow), WritePlan{});
}

TEST(RegisterKeys, LeavingRemovesTheFolder) {
  EXPECT_TRUE(plan_writes(kKeys, {address("host1:8023")}, Goal::Gone, kNow).remove_folder);
  EXPECT_TRUE(plan_writes(kKeys, {kSeen}, Goal::Gone, kNow).remove_folder);
  EXPECT_FALSE(plan_writes(kKeys, {}, Goal::Gone, kNow).remove_folder);
}

PublishedLeft published(const std::vector<KeyValue>& there) {
  return read_published(there, "/state", "n1");
}

TEST(PublishedLeftTest, AddsUpTheHosts) {
  const PublishedLeft left = published({kv("/state/hosts/a/backends/n1/active-connections", "3"),
                                        kv("/state/hosts/a/backends/n1/disabled", "true"),
                                        kv("/state/hosts/a/backends/n2/active-connections", "7"),
                                        kv("/state/hosts/b/backends/n1/active-connections", "1"),
                                        kv("/state/hosts/b/backends/n1/disabled", "false"),
                                        kv("/other/hosts/b/backends/n1/active-connections", "9")});
  EXPECT_EQ(left.connections, 4U);
  EXPECT_EQ(left.publishers, 2U);
  EXPECT_EQ(left.still_choosing, 1U);
}

TEST(PublishedLeftTest, TheFlatKeysRepeatWhatAHostSays) {
  const std::vector<KeyValue> both{kv("/state/backends/n1/active-connections", "3"),
                                   kv("/state/hosts/a/backends/n1/active-connections", "3"),
                                   kv("/state/hosts/a/backends/n1/disabled", "true")};
  EXPECT_EQ(published(both).connections, 3U);
  EXPECT_EQ(published(both).still_choosing, 1U);
  EXPECT_EQ(published({both[0]}).connections, 3U);
}

TEST(PublishedLeftTest, MerlionItselfTellsNoCount) {
  EXPECT_EQ(published({kv("/state/backends/n1/unavailable", "false"),
                       kv("/state/backends/n1/last-seen-at", "1")})
                .publishers,
            0U);
  EXPECT_EQ(published({kv("/state/hosts/a/backends/n1/active-connections", "junk")}).publishers,
            0U);
  EXPECT_EQ(published({kv("/state/hosts", "x"), kv("/state/hosts/a", "x"), kv("/state/", "x")})
                .publishers,
            0U);
}

}  // namespace
}  // namespace lb::lbctl
