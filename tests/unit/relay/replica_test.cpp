#include "relay/replica.h"

#include <gtest/gtest.h>

#include "relay/feed.h"
#include "support/snapshot_builder.h"
#include "unit/relay/compare.h"

namespace lb::relay {
namespace {

const ServicePtr kWeb = offered("10.0.0.5:80", {listed("10.1.0.1:80"), listed("10.1.0.2:80")});
const ServicePtr kDb = offered("10.0.0.6:80", {listed("10.1.0.1:90")}, "db");

ServicePtr at_default(const ServicePtr& service, const char* key) {
  auto out = std::make_shared<Service>(*service);
  out->key = ServiceKey::parse(key).value();
  out->default_address = true;
  return out;
}

TEST(Replica, KeepsThePointersOfWhatDidNotChange) {
  const auto web = offered("10.0.0.5:80", {listed("10.1.0.2:80"), listed("10.1.0.3:80")});
  std::vector<ServicePtr> services{kWeb, kDb};
  ASSERT_TRUE(relay::apply(make_delta(services, {web, kDb}), services));
  EXPECT_TRUE(same(services, {web, kDb}));
  EXPECT_EQ(services[1], kDb);
}

TEST(Replica, RefusesADeltaForAnotherStateAndStaysAsItIs) {
  const auto fails = [](const Delta& delta, std::vector<ServicePtr> services) {
    const auto before = services;
    const auto applied = relay::apply(delta, services);
    EXPECT_EQ(services, before);
    return !applied && applied.error().code.value() == ESTALE;
  };
  const auto changed = offered("10.0.0.5:80", {listed("10.1.0.1:80")});
  EXPECT_TRUE(fails(make_delta({kWeb, kDb}, {changed, kDb}), {kDb}));      // patched, not there
  EXPECT_TRUE(fails(make_delta({kWeb, kDb}, {kDb}), {kDb}));               // removed, not there
  EXPECT_TRUE(fails(make_delta({kWeb, kDb}, {changed}), {changed, kDb}));  // its backend is gone
}

TEST(Replica, FollowsOnlyFromTheBaseOfTheSameEpoch) {
  Delta delta;
  delta.at = {"e", 5};
  delta.base = 3;
  EXPECT_TRUE(follows(delta, Position{"e", 3}));
  EXPECT_FALSE(follows(delta, Position{"e", 4}));
  EXPECT_FALSE(follows(delta, Position{"f", 3}));
  EXPECT_FALSE(follows(delta, std::nullopt));
  delta.base = 5;
  EXPECT_FALSE(follows(delta, Position{"e", 5}));
}

TEST(Replica, ShowsTheServiceThatNamesItsAddressOfTwoAtOneKey) {
  const auto other = at_default(kDb, "10.0.0.5:80");
  std::vector<ServicePtr> services{kWeb, other};
  std::vector<std::string> warnings;
  EXPECT_EQ(visible(services, warnings), std::vector{kWeb});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("service db"), std::string::npos);
  EXPECT_NE(warnings[0].find("publish.address"), std::string::npos);

  // It has not forgotten the other one.
  ASSERT_TRUE(relay::apply(make_delta(services, {other}), services));
  warnings.clear();
  EXPECT_EQ(visible(services, warnings), std::vector{other});
  EXPECT_TRUE(warnings.empty());
}

TEST(Replica, FollowsAnUpdaterWhosePublishAddressChanges) {
  const auto before = at_default(kDb, "127.0.0.1:80");
  const auto after = at_default(kDb, "10.0.0.5:80");
  std::vector<ServicePtr> services = sent(SnapshotMessage{{"e", 1}, {}, {before}}).services;
  Delta delta = make_delta({before}, {after});
  delta.at = {"e", 2};
  delta.base = 1;
  ASSERT_TRUE(relay::apply(sent(delta), services));
  ASSERT_EQ(services.size(), 1u);
  EXPECT_EQ(services[0]->key.address, kPublish);
}

}  // namespace
}  // namespace lb::relay
