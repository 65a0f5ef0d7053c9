#include "state/merge.h"

#include <gmock/gmock.h>

#include "unit/state/merge_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(Merge, TakesOverWhatTheSourceSays) {
  turn({two_}, at(10));
  EXPECT_EQ(web().key, kWeb);
  EXPECT_EQ(web().name, "web");
  EXPECT_EQ(web().source, "file:/x");
  EXPECT_EQ(web().condition, Condition::Ok);
  EXPECT_EQ(web().text, "");
  EXPECT_FALSE(web().removed);
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 7"));
  EXPECT_EQ(web().backends[0].since, at(10));
}

TEST_F(Merge, WeightZeroIsDraining) {
  turn({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80", 0)})}, at(10));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 draining/weight 0"));
}

TEST_F(Merge, SourcesVerdictsStay) {
  turn({offered("127.0.0.1:80", {listed("10.0.0.1:80", BackendState::Unknown, Reason::NotVerified),
                                 listed("10.0.0.2:80", BackendState::Exited, Reason::ConnectFailed),
                                 listed("10.0.0.3:80", BackendState::Draining, Reason::Source)})},
       at(10));
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 unknown/not-verified 100",
                          "10.0.0.2:80 exited/connect-failed 0", "10.0.0.3:80 draining/source 0"));
}

TEST_F(Merge, DrainGoesBeforeWhateverTheSourceSays) {
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(5))));
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.2", at(5))));
  turn({offered("127.0.0.1:80", {listed("10.0.0.1:80"),
                                 listed("10.0.0.2:80", BackendState::Down, Reason::ProbeFailed)})},
       at(10));
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 draining/operator 0", "10.0.0.2:80 draining/operator 0"));
  EXPECT_EQ(web().condition, Condition::NoBackends) << "drained ones are no last resort";
  EXPECT_EQ(web().backends[0].since, at(5)) << "after a restart the drain knows since when";
}

TEST_F(Merge, BackendThatIsDownByItsHealthCheckIsOutUntilItRises) {
  const ServicePtr service = with_check(two_);
  turn({service}, at(10));
  find_down("10.0.0.1:80", at(15));
  again(at(20));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 down/probe-failed 0", "10.0.0.2:80 active 7"));
  EXPECT_EQ(web().condition, Condition::Ok);
  EXPECT_EQ(web().backends[0].since, at(15)) << "the verdict knows since when";
  again(at(30));
  EXPECT_EQ(web().backends[0].since, at(15));
  health_.begin()->second = {true, at(35), ""};
  again(at(40));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 7"));
}

TEST_F(Merge, AllDownByTheirHealthChecksFailsOpen) {
  find_down("10.0.0.1:80", at(5));
  find_down("10.0.0.2:80", at(5));
  turn({with_check(two_)}, at(10));
  EXPECT_EQ(web().condition, Condition::FailOpen);
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 down/probe-failed 100", "10.0.0.2:80 down/probe-failed 7"));
  EXPECT_EQ(web().backends[0].since, at(5)) << "as after a restart";
}

TEST_F(Merge, UnknownBackendMayBeFoundDown) {
  find_down("10.0.0.1:80", at(5));
  turn({with_check(offered("127.0.0.1:80",
                           {listed("10.0.0.1:80", BackendState::Unknown, Reason::NotVerified),
                            listed("10.0.0.2:80")}))},
       at(10));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 down/probe-failed 0", "10.0.0.2:80 active 100"));
}

TEST_F(Merge, DrainsWeightsAndTheSourcesBadVerdictsGoBeforeHealthChecks) {
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(5))));
  for (const auto* backend : {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"})
    find_down(backend, at(5));
  turn({with_check(offered("127.0.0.1:80",
                           {listed("10.0.0.1:80"), listed("10.0.0.2:80", 0),
                            listed("10.0.0.3:80", BackendState::Exited, Reason::ConnectFailed),
                            listed("10.0.0.4:80", BackendState::Draining, Reason::Source)}))},
       at(10));
  EXPECT_THAT(
      rows(),
      ElementsAre("10.0.0.1:80 draining/operator 0", "10.0.0.2:80 draining/weight 0",
                  "10.0.0.3:80 exited/connect-failed 0", "10.0.0.4:80 draining/source 100"));
}

TEST_F(Merge, VerdictOfACheckThatWasRemovedCountsNoMore) {
  find_down("10.0.0.1:80", at(5));
  turn({with_check(two_)}, at(10));
  turn({two_}, at(20));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 7"));
}

// Of ten thousand services a drain is to touch those that it covers: to build all of them holds up the loop.
TEST_F(Merge, DrainsChangeOnlyTheServicesTheyAreAbout) {
  const auto other = offered("127.0.0.1:81", {listed("10.0.0.3:80")});
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.3:80", at(5))));
  turn({two_, other}, at(10));
  const MergeResult first = result_;
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(15))));
  again(at(20));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/operator 0", "10.0.0.2:80 active 7"));
  EXPECT_EQ(result_.memo.at(1).desired, first.memo.at(1).desired);
  ASSERT_TRUE(drains_.remove(*Address::parse("10.0.0.3:80")));
  const MergeResult second = result_;
  again(at(30));
  EXPECT_EQ(result_.memo.at(0).desired, second.memo.at(0).desired);
  EXPECT_EQ(result_.state.at(other->key)->backends.front().state, BackendState::Active);
}

TEST_F(Merge, VerdictsChangeOnlyTheServicesTheyAreAbout) {
  auto other = std::make_shared<Service>(*offered("127.0.0.1:81", {listed("10.0.0.1:80")}));
  other->check = HealthCheck();
  turn({with_check(two_), other}, at(10));
  const DesiredState before = result_.state;
  find_down("10.0.0.1:80", at(15));
  again(at(20));
  EXPECT_NE(result_.state.at(kWeb), before.at(kWeb));
  EXPECT_EQ(result_.state.at(other->key), before.at(other->key));
  const DesiredState down = result_.state;
  again(at(30));
  EXPECT_EQ(result_.state.at(kWeb), down.at(kWeb)) << "nothing new";
}

TEST_F(Merge, MemoTellsWhichServicesAreToBeChecked) {
  ports_ = PortRanges::parse("80-81").value();
  auto refused = std::make_shared<Service>(*offered("127.0.0.1:82", {}));
  refused->check = HealthCheck();
  turn({with_check(two_), offered("127.0.0.1:81", {}), refused}, at(10));
  ASSERT_EQ(result_.memo.size(), 3U);
  EXPECT_TRUE(result_.memo[0].checked);
  EXPECT_FALSE(result_.memo[1].checked);
  EXPECT_FALSE(result_.memo[2].checked) << "its port is refused";
}

TEST_F(Merge, SinceIsKeptUntilStateOrReasonChanges) {
  turn({two_}, at(10));
  turn({offered("127.0.0.1:80", {listed("10.0.0.1:80", 9), listed("10.0.0.2:80", 7)})}, at(20));
  EXPECT_EQ(web().backends[0].since, at(10)) << "another weight";
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(30))));
  again(at(30));
  EXPECT_EQ(web().backends[0].since, at(30));
  EXPECT_EQ(web().backends[1].since, at(10));
  again(at(40));
  EXPECT_EQ(web().backends[0].since, at(30));
}

TEST_F(Merge, NewBackendOnTheSameAddressStartsItsTime) {
  turn({one_}, at(10));
  Backend other = listed("10.0.0.1:80");
  other.id = "task-2";
  turn({offered("127.0.0.1:80", {other})}, at(20));
  EXPECT_EQ(web().backends[0].since, at(20));
}

TEST_F(Merge, BackendThatLeftKeepsItsPlaceWithoutNewConnections) {
  turn({two_}, at(10));
  turn({one_}, at(20));
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 draining/source departed 0"));
  EXPECT_EQ(web().backends[1].since, at(20));
  EXPECT_EQ(web().backends[1].backend.weight, 7U) << "the identity stays";
}

TEST_F(Merge, BackendThatLeftIsALastResortUntilItsDeadline) {
  turn({two_}, at(10));
  turn({offered("127.0.0.1:80", {})}, at(20));
  EXPECT_EQ(web().condition, Condition::LastResort);
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/source departed 100",
                                  "10.0.0.2:80 draining/source departed 7"));
  again(at(80));
  EXPECT_EQ(web().condition, Condition::NoBackends);
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/lingering departed 0",
                                  "10.0.0.2:80 draining/lingering departed 0"));
  EXPECT_EQ(web().backends[0].since, at(80));
}

// What was found in the kernel after a restart is of no app that is known: it may serve alone, and never beside
// those of an app that is.
TEST_F(Merge, BackendOfAnUnknownAppServesOnlyAlone) {
  const auto owned = [](std::vector<Backend> backends) {
    Service service = *offered("127.0.0.1:80", std::move(backends));
    service.origin = "/green";
    return std::make_shared<const Service>(std::move(service));
  };
  departures_.adopt(kWeb, *Address::parse("10.0.0.9:80"), both(at(5)));
  turn({owned({listed("10.0.0.1:80", BackendState::Draining, Reason::Source)})}, at(10));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/source 100",
                                  "10.0.0.9:80 draining/source departed 0"));
  turn({owned({})}, at(20));
  EXPECT_EQ(web().condition, Condition::LastResort);
}

TEST_F(Merge, WhatHasLeftAnUnknownAppDoesNotServeBesideWhatHasLeftTheOneThatIsKnown) {
  const auto of = [](const char* origin, std::vector<Backend> backends) {
    Service service = *offered("127.0.0.1:80", std::move(backends));
    service.origin = origin;
    return std::make_shared<const Service>(std::move(service));
  };
  turn({of("", {listed("10.0.0.9:80")})}, at(5));
  turn({of("/green", {listed("10.0.0.1:80")})}, at(10));
  turn({of("/green", {})}, at(20));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/source departed 100",
                                  "10.0.0.9:80 draining/source departed 0"));
  departures_.finish(kWeb, *Address::parse("10.0.0.1:80"));
  turn({of("/green", {})}, at(30));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.9:80 draining/source departed 100")) << "alone it may";
}

TEST_F(Merge, DrainedBackendThatLeftIsNoLastResort) {
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(5))));
  turn({one_}, at(10));
  turn({offered("127.0.0.1:80", {})}, at(20));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/operator departed 0"));
  EXPECT_EQ(web().backends[0].since, at(5));
}

TEST_F(Merge, BackendThatComesBackIsAsBefore) {
  turn({two_}, at(10));
  turn({one_}, at(20));
  turn({two_}, at(30));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 7"));
  EXPECT_EQ(web().backends[1].since, at(30));
}

TEST_F(Merge, ServiceThatLeftIsRemovedAndTakesNothing) {
  turn({two_}, at(10));
  turn({}, at(20));
  EXPECT_TRUE(web().removed);
  EXPECT_EQ(web().name, "web");
  EXPECT_EQ(web().source, "file:/x");
  EXPECT_EQ(web().condition, Condition::NoBackends);
  EXPECT_EQ(web().text,
            "its source lists it no more: open connections run out, new ones are not taken");
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 draining/source departed 0",
                                  "10.0.0.2:80 draining/source departed 0"));
  departures_.finish(kWeb, two_->backends[0].address);
  departures_.finish(kWeb, two_->backends[1].address);
  EXPECT_THAT(again(at(30)).state, IsEmpty());
}

TEST_F(Merge, ConflictIsListedWithTheSentenceGiven) {
  conflicts_[kWeb] = "haproxy (pid 7) listens on 127.0.0.1:80: stop it";
  turn({two_}, at(10));
  EXPECT_EQ(web().condition, Condition::Conflict);
  EXPECT_EQ(web().text, "haproxy (pid 7) listens on 127.0.0.1:80: stop it");
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 0", "10.0.0.2:80 active 0"));
  conflicts_.clear();
  again(at(20));
  EXPECT_EQ(web().condition, Condition::Ok);
}

TEST_F(Merge, RefusedPortIsListedAndNotInUse) {
  ports_ = PortRanges::parse("443,8000-9000").value();
  turn({two_}, at(10));
  EXPECT_EQ(web().condition, Condition::Refused);
  EXPECT_EQ(web().text,
            "not programmed: port 80 is not among the ports of source file:/x (443,8000-9000)");
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 0", "10.0.0.2:80 active 0"));
}

TEST_F(Merge, LoopbackBackendsAreLeftOutWithScopeAll) {
  scope_all_ = true;
  const ServicePtr service = offered(
      "127.0.0.1:80", {listed("10.0.0.1:80"), listed("127.0.0.1:9001"), listed("[::1]:9001")});
  turn({service}, at(10));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100"));
  ASSERT_EQ(result_.warnings.size(), 2U);
  EXPECT_EQ(result_.warnings[1],
            "test.toml: service web (tcp://127.0.0.1:80): backend 127.0.0.1:9001 is left out: with "
            "scope = \"all\" a loopback address would mean another machine in each network "
            "namespace; give it an address of the host");
  EXPECT_EQ(again(at(20)).warnings.size(), 2U) << "also when the service is not looked at again";
}

TEST_F(Merge, OnlyLoopbackBackendsWithScopeAllAreNone) {
  scope_all_ = true;
  turn({offered("127.0.0.1:80", {listed("127.0.0.1:9001")})}, at(10));
  EXPECT_EQ(web().condition, Condition::NoBackends);
  EXPECT_EQ(web().text,
            "all backends are left out, as loopback addresses cannot be used with scope = \"all\": "
            "connections are refused");
}

TEST_F(Merge, LoopbackBackendsAreFineWithScopeHost) {
  turn({offered("127.0.0.1:80", {listed("127.0.0.1:9001")})}, at(10));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:9001 active 100"));
  EXPECT_THAT(result_.warnings, IsEmpty());
}

TEST_F(Merge, EachProtocolIsAServiceOfItsOwn) {
  turn({two_, offered("udp://127.0.0.1:80", {listed("10.0.0.9:80")}, "dns")}, at(10));
  EXPECT_EQ(result_.state.size(), 2U);
}

TEST_F(Merge, UnchangedServiceKeepsItsPointer) {
  const ServicePtr other = offered("127.0.0.1:81", {listed("10.0.0.1:80")});
  turn({two_, other}, at(10));
  const DesiredState before = result_.state;
  turn({one_, other}, at(20));
  EXPECT_NE(result_.state.at(kWeb), before.at(kWeb));
  EXPECT_EQ(result_.state.at(other->key), before.at(other->key));
}

TEST_F(Merge, EqualServiceFromAnewReadingKeepsItsPointer) {
  turn({two_}, at(10));
  const DesiredServicePtr before = result_.state.at(kWeb);
  turn({std::make_shared<const Service>(*two_)}, at(20));
  EXPECT_EQ(result_.state.at(kWeb), before);
}

TEST_F(Merge, ServiceWithDeparturesKeepsItsPointerWhileNothingHappens) {
  turn({two_}, at(10));
  turn({one_}, at(20));
  const DesiredServicePtr before = result_.state.at(kWeb);
  EXPECT_EQ(again(at(30)).state.at(kWeb), before);
  EXPECT_NE(again(at(80)).state.at(kWeb), before) << "lingering";
}

TEST_F(Merge, DrainChangesOnlyTheServicesItMeans) {
  const ServicePtr other = offered("127.0.0.1:81", {listed("10.0.0.9:80")});
  turn({two_, other}, at(10));
  const DesiredState before = result_.state;
  ASSERT_TRUE(drains_.add(drain_of("10.0.0.1:80", at(20))));
  again(at(20));
  EXPECT_NE(result_.state.at(kWeb), before.at(kWeb));
  EXPECT_EQ(result_.state.at(other->key), before.at(other->key));
}

TEST_F(Merge, NewOwnerIsSeenAlthoughItsBackendsAreTheSame) {
  Snapshot s = snapshot({two_});
  std::vector<SourceInput> sources{{"a", &s, {}, false}, {"b", &s, {}, false}};
  View view = resolve_claims(sources, nullptr);
  const MergeResult first = merge({.view = &view, .now = both(at(1))});
  Snapshot nothing;
  sources[0].snapshot = &nothing;
  view = resolve_claims(sources, &view);
  const MergeResult second = merge({.view = &view, .previous = &first, .now = both(at(2))});
  EXPECT_EQ(first.state.at(kWeb)->source, "a");
  EXPECT_EQ(second.state.at(kWeb)->source, "b");
  EXPECT_EQ(second.state.at(kWeb)->backends[0].since, at(1)) << "the same backend all the time";
}

}  // namespace
}  // namespace lb
