// Who was there first: services against foreign listeners.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reconciler_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ReconcilerListeners : public ReconcilerFixture {
 protected:
  [[nodiscard]] const ListenerNote* note(std::string_view k) const {
    const auto it = reconciler_->notes().find(key(k));
    return it == reconciler_->notes().end() ? nullptr : &it->second;
  }
};

TEST_F(ReconcilerListeners, ListenerThatWasThereFirstKeepsThePort) {
  start();
  listen("127.0.0.1:80");
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")})});
  EXPECT_EQ(dataplane_.service(key("127.0.0.1:80")), nullptr);
  const auto shown = reconciler_->effective(key("127.0.0.1:80"));
  EXPECT_EQ(shown->condition, Condition::Conflict);
  EXPECT_THAT(shown->text, HasSubstr("nginx (pid 123) listens on 127.0.0.1:80"));
  EXPECT_EQ(shown->backends[0].effective_weight, 0U);
}

TEST_F(ReconcilerListeners, ServiceTakesOverWithinASecondWhenTheListenerGoes) {
  start();
  listen("127.0.0.1:80");
  run({service("127.0.0.1:80")});
  listeners_.clear();
  EXPECT_LE(reconciler_->next_wakeup(), now_ + milliseconds(250));
  EXPECT_EQ(after(milliseconds(250)).upserted, 1U);
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Ok);
  EXPECT_THAT(reconciler_->notes(), IsEmpty());
}

TEST_F(ReconcilerListeners, ListenerThatComesLaterIsReportedAndTheServiceStays) {
  start();
  run({service("127.0.0.1:80")});
  listen("127.0.0.1:80");
  after(milliseconds(2000));
  EXPECT_NE(dataplane_.service(key("127.0.0.1:80")), nullptr);
  ASSERT_NE(note("127.0.0.1:80"), nullptr);
  EXPECT_FALSE(note("127.0.0.1:80")->conflict);
  EXPECT_THAT(note("127.0.0.1:80")->text, HasSubstr("goes to the service"));
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Ok);
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")})});  // changes are still programmed
  EXPECT_EQ(dataplane_.service(key("127.0.0.1:80"))->backends.size(), 1U);
}

TEST_F(ReconcilerListeners, AfterARestartWhatIsProgrammedCountsAsFirst) {
  start();
  run({service("127.0.0.1:80")});
  listen("127.0.0.1:80");
  start();
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")})});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

TEST_F(ReconcilerListeners, AliasInUseIsLeftOut) {
  start();
  listen("[::1]:80");
  run({service("127.0.0.1:80")});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("127.0.0.1")));
  EXPECT_FALSE(note("127.0.0.1:80")->conflict);
  EXPECT_THAT(note("127.0.0.1:80")->text, HasSubstr("[::1]:80 is left to it"));
  listeners_.clear();
  after(milliseconds(250));
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

TEST_F(ReconcilerListeners, V6OnlyListenerTakesOnlyTheAlias) {
  start();
  listen("[::]:80", true);
  run({service("127.0.0.1:80")});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("127.0.0.1")));
}

TEST_F(ReconcilerListeners, WildcardListenerConflicts) {
  start();
  listen("[::]:80");
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

TEST_F(ReconcilerListeners, WildcardServiceKeepsTheAddressesThatAreFree) {
  start();
  listen("10.0.0.1:80");
  run({service("0.0.0.0:80")});
  EXPECT_THAT(addresses("0.0.0.0:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

TEST_F(ReconcilerListeners, ShadowTakesOverAtOnce) {
  shadow_ = true;
  start();
  listen("127.0.0.1:80");
  run({service("127.0.0.1:80")});
  EXPECT_NE(dataplane_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_FALSE(note("127.0.0.1:80")->conflict);
}

TEST_F(ReconcilerListeners, OwnBackendOnTheServicePortIsNoConflict) {
  start();
  listen("0.0.0.0:80");
  run({service("127.0.0.1:80", {backend("10.0.0.1:80"), backend("10.0.0.2:80")})});
  EXPECT_NE(dataplane_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_THAT(reconciler_->notes(), IsEmpty());
}

TEST_F(ReconcilerListeners, LooksBeforeAnythingNewIsProgrammed) {
  start();
  run({});
  listen("127.0.0.1:80");  // after the last look
  run({service("127.0.0.1:80")});
  EXPECT_EQ(dataplane_.service(key("127.0.0.1:80")), nullptr);
}

TEST_F(ReconcilerListeners, ChangeOfBackendsAloneNeedsNoLook) {
  start();
  run({service("127.0.0.1:80")});
  const int before = looks_;
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")})});
  EXPECT_EQ(looks_, before);
}

TEST_F(ReconcilerListeners, ReturningServiceWithOpenConnectionsWaitsWithoutLosingThem) {
  start();
  DesiredService web = service("127.0.0.1:80", {backend("10.0.0.1:9000")});
  run({web});
  web.removed = true;
  run({web});
  listen("127.0.0.1:80");
  web.removed = false;
  run({web});
  ASSERT_NE(dataplane_.service(web.key), nullptr);
  EXPECT_THAT(addresses("127.0.0.1:80"), IsEmpty());
  EXPECT_EQ(reconciler_->effective(web.key)->condition, Condition::Conflict);
}

// --- who keeps a port

constexpr Uid kAlice = 1000;

TEST_F(ReconcilerListeners, ListenerOfAnUnprivilegedUserDoesNotGetAServiceOfFiles) {
  from_files_ = true;
  start();
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")})});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Ok);
  ASSERT_NE(note("127.0.0.1:80"), nullptr) << "he is named";
  EXPECT_THAT(note("127.0.0.1:80")->text,
              HasSubstr("uid 1000 is neither root nor in dataplane.yield_to"));
}

TEST_F(ReconcilerListeners, ListenerOfAUserThatIsYieldedToKeepsAServiceOfFiles) {
  from_files_ = true;
  yield_to_.uids.insert(kAlice);
  start();
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

TEST_F(ReconcilerListeners, YieldToEverybodyLeavesThePortToWhoWasThereFirst) {
  from_files_ = true;
  yield_to_.everybody = true;
  start();
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

// A tenant claims the port of a running database.
TEST_F(ReconcilerListeners, ListenerThatWasThereBeforeOthersClaimedThePortKeepsIt) {
  start();
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
  start();
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict)
      << "a restart is no first claim of lbd's";
}

TEST_F(ReconcilerListeners, ListenerThatComesWhileTheServiceIsAwayDoesNotGetIt) {
  start();
  run({service("127.0.0.1:80")});
  run({});
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80")});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
  EXPECT_THAT(note("127.0.0.1:80")->text, HasSubstr("lbd had the port before"));
}

TEST_F(ReconcilerListeners, ListenerThatComesAtBootDoesNotGetTheService) {
  start();
  run({service("127.0.0.1:80")});
  dataplane_ = FakeDataplane();  // the kernel has forgotten all
  listen("0.0.0.0:80", false, kAlice);
  start();
  run({service("127.0.0.1:80")});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

// One socket takes all addresses: at the new one it came no earlier than at the others.
TEST_F(ReconcilerListeners, ListenerThatCameLaterGetsNoNewAddressEither) {
  start();
  run({service("0.0.0.0:80")});
  run({});
  reconciler_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.2"), ip("::1")});
  listen("0.0.0.0:80", false, kAlice);
  run({service("0.0.0.0:80")});
  EXPECT_THAT(addresses("0.0.0.0:80"), ElementsAre(ip("::1"), ip("10.0.0.2"), ip("127.0.0.1")));
}

TEST_F(ReconcilerListeners, PortThatLbdNeverHeldStaysWithItsListenerBesideThoseItHolds) {
  start();
  listen("10.0.0.1:80", false, kAlice);
  run({service("0.0.0.0:80")});
  dataplane_ = FakeDataplane();
  start();
  run({service("0.0.0.0:80")});
  EXPECT_THAT(addresses("0.0.0.0:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

// Back to HAProxy, and over again.
TEST_F(ReconcilerListeners, RootsListenerKeepsThePortWheneverItCame) {
  start();
  run({service("127.0.0.1:80")});
  run({});
  listen("127.0.0.1:80");
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

TEST_F(ReconcilerListeners, PortThatNoServiceHasClaimedForAWeekIsFree) {
  start();
  run({service("127.0.0.1:80")});
  run({});
  after(HeldPorts::kRemembered + milliseconds(1));
  listen("127.0.0.1:80", false, kAlice);
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

TEST_F(ReconcilerListeners, RightfulListenerBesideASquatterKeepsThePort) {
  start();
  run({service("127.0.0.1:80")});
  run({});
  listen("127.0.0.1:80", false, kAlice);
  listen("0.0.0.0:80");
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->effective(key("127.0.0.1:80"))->condition, Condition::Conflict);
}

}  // namespace
}  // namespace lb
