#include "daemon/engine.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine_fixture.h"

namespace lb {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

class EngineTest : public EngineFixture {
 protected:
  const ServiceKey web_ = key("127.0.0.1:80");
  const Address one_ = addr("10.0.0.1:9000");
  const Address two_ = addr("10.0.0.2:9000");

  void deliver_both() {
    deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000")})});
  }
  void deliver_only_two() { deliver({offered("127.0.0.1:80", {listed("10.0.0.2:9000")})}); }
};

TEST_F(EngineTest, DeliveredSnapshotIsProgrammed) {
  start();
  deliver_both();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{one_, 1}, ProgrammedBackend{two_, 1}));
}

TEST_F(EngineTest, FailingSourceKeepsEverything) {
  start();
  deliver_both();
  const std::size_t before = dataplane_.writes;
  engine_->deliver(*engine_->slots()[0], fail(ECONNREFUSED, "etcd"));
  run();
  EXPECT_EQ(dataplane_.writes, before);
  EXPECT_EQ(engine_->slots()[0]->error(), "etcd: Connection refused");
}

TEST_F(EngineTest, RestartProgramsTheSavedSnapshotWithoutAWrite) {
  start();
  deliver_both();
  const std::size_t before = dataplane_.writes;
  start();
  EXPECT_EQ(dataplane_.writes, before);
  deliver_both();
  EXPECT_EQ(dataplane_.writes, before);
}

TEST_F(EngineTest, AfterARebootTheSavedSnapshotIsInForceBeforeTheSourceAnswers) {
  start();
  deliver_both();
  dataplane_.tamper(web_);
  start();
  EXPECT_EQ(programmed("127.0.0.1:80").size(), 2U);
}

TEST_F(EngineTest, BackendThatLeftKeepsItsConnectionsAndGoesAtZero) {
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 1;
  deliver_only_two();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{one_, 0}, ProgrammedBackend{two_, 1}));
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_EQ(programmed("127.0.0.1:80").size(), 2U);
  dataplane_.active[{web_, one_}] = 0;
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{two_, 1}));
}

TEST_F(EngineTest, ServiceThatLeftRefusesNothingAndGoesWithItsLastConnection) {
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 1;
  deliver({});
  after(milliseconds(100));
  after(milliseconds(100));
  ASSERT_NE(dataplane_.service(web_), nullptr);
  EXPECT_THAT(dataplane_.service(web_)->addresses, IsEmpty());
  dataplane_.active.clear();
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_EQ(dataplane_.service(web_), nullptr);
}

TEST_F(EngineTest, AtTheDeadlineABackendLeavesTheServiceAndLingers) {
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 1;
  deliver_only_two();
  after(milliseconds(60'000));
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{two_, 1}));
  const auto& backends = engine_->reconciler().desired().at(web_)->backends;
  ASSERT_EQ(backends.size(), 2U);
  EXPECT_EQ(backends[0].reason, Reason::Lingering);
  EXPECT_THAT(dataplane_.calls, Not(Contains("terminate 10.0.0.1:9000")));
  dataplane_.active.clear();
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_EQ(engine_->reconciler().desired().at(web_)->backends.size(), 1U);
}

TEST_F(EngineTest, TerminateEndsConnectionsAtTheDeadlineAndNotBefore) {
  settings_.terminate_on_timeout = true;
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 3;
  dataplane_.survivors[{web_, one_}] = 1;
  deliver_only_two();
  after(milliseconds(59'999));
  EXPECT_EQ((dataplane_.active[{web_, one_}]), 3U);
  after(milliseconds(1));
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_EQ((dataplane_.active[{web_, one_}]), 0U);
}

TEST_F(EngineTest, StepOfTheWallClockEndsNoDeparture) {
  settings_.terminate_on_timeout = true;
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 3;
  deliver_only_two();
  wall_ += std::chrono::hours(24);
  after(milliseconds(59'999));
  EXPECT_EQ((dataplane_.active[{web_, one_}]), 3U);
  wall_ -= std::chrono::hours(48);
  after(milliseconds(1));
  after(milliseconds(100));
  EXPECT_EQ((dataplane_.active[{web_, one_}]), 0U);
}

TEST_F(EngineTest, DepartureSurvivesARestart) {
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 1;
  deliver_only_two();
  start();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{one_, 0}, ProgrammedBackend{two_, 1}));
}

TEST_F(EngineTest, WhatTheKernelHasStaysUntilAllSourcesHaveDelivered) {
  dataplane_.plant({key("127.0.0.1:99"), {ip("127.0.0.1")}, Balance::LeastConn, {{one_, 100}}});
  dataplane_.active[{key("127.0.0.1:99"), one_}] = 1;
  start({"a", "b"});
  deliver_both();
  EXPECT_THAT(programmed("127.0.0.1:99"), ElementsAre(ProgrammedBackend{one_, 100}));
  deliver({}, 1);
  // Then it departs like anything else: its connections run out.
  ASSERT_NE(dataplane_.service(key("127.0.0.1:99")), nullptr);
  EXPECT_THAT(dataplane_.service(key("127.0.0.1:99"))->addresses, IsEmpty());
  dataplane_.active.clear();
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_EQ(dataplane_.service(key("127.0.0.1:99")), nullptr);
}

TEST_F(EngineTest, GuardedLossIsHeldAndAcceptedAfterConfirm) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000"),
                                    listed("10.0.0.3:9000"), listed("10.0.0.4:9000")})});
  engine_->deliver(
      *engine_->slots()[0],
      snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9000")})}, Absence::Guarded));
  run();
  EXPECT_EQ(programmed("127.0.0.1:80").size(), 4U);
  EXPECT_TRUE(engine_->slots()[0]->held());
  after(milliseconds(10'000));
  EXPECT_FALSE(engine_->slots()[0]->held());
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{one_, 1}));
}

TEST_F(EngineTest, ASourceHearsWhatIsInForce) {
  start();
  SourceSlot& slot = *engine_->slots()[0];
  const auto heard = [&] {
    std::size_t count = 0;
    for (const auto& service : static_cast<SilentSource&>(*slot.source).in_force_.services)
      count += service->backends.size();
    return count;
  };
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000"),
                                    listed("10.0.0.3:9000"), listed("10.0.0.4:9000")})});
  EXPECT_EQ(heard(), 4U);
  const Snapshot less =
      snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9000")})}, Absence::Guarded);
  engine_->deliver(slot, less);
  EXPECT_EQ(heard(), 4U) << "the guard holds three";
  after(milliseconds(10'000));
  EXPECT_EQ(heard(), 1U) << "and lets go of them";
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000")})});
  engine_->deliver(slot, snapshot({}, Absence::Guarded));
  EXPECT_EQ(heard(), 2U);
  EXPECT_EQ(slot.accept(), 2U);
  EXPECT_EQ(heard(), 0U);
}

TEST_F(EngineTest, OtherOptionsOfTheGuardLetGoOfNothing) {
  start();
  SourceSlot& slot = *engine_->slots()[0];
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000")})});
  engine_->deliver(slot, snapshot({}, Absence::Guarded));
  slot.set_guard({.total = milliseconds(20'000)});
  EXPECT_TRUE(slot.held());
  after(milliseconds(19'000));
  EXPECT_EQ(programmed("127.0.0.1:80").size(), 2U);
  after(milliseconds(1'000));
  EXPECT_FALSE(slot.held());
}

TEST_F(EngineTest, ConflictAndThenTakeOver) {
  start();
  listeners_ = {{Protocol::Tcp, 80, ip("127.0.0.1"), false, 7}};
  deliver_both();
  EXPECT_EQ(dataplane_.service(web_), nullptr);
  EXPECT_EQ(engine_->reconciler().effective(web_)->condition, Condition::Conflict);
  listeners_.clear();
  after(milliseconds(250));
  EXPECT_NE(dataplane_.service(web_), nullptr);
  EXPECT_EQ(engine_->reconciler().effective(web_)->condition, Condition::Ok);
}

TEST_F(EngineTest, ReloadWithoutASourceDrainsWhatItHad) {
  start();
  deliver_both();
  dataplane_.active[{web_, one_}] = 1;
  engine_->configure(settings_, {});
  run();
  ASSERT_NE(dataplane_.service(web_), nullptr);
  EXPECT_THAT(dataplane_.service(web_)->addresses, IsEmpty());
}

TEST_F(EngineTest, BackendFoundDownIsOutAlsoAfterARestart) {
  auto web = std::make_shared<Service>(
      *offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}));
  web->check = HealthCheck();
  start();
  EXPECT_TRUE(engine_->checked().empty());
  deliver({web, offered("127.0.0.1:81", {listed("10.0.0.1:80")})});
  ASSERT_EQ(engine_->checked().size(), 1U);
  EXPECT_EQ(engine_->checked()[0], web);
  engine_->set_health({{{web->key, addr("10.0.0.1:80")}, {false, wall_, "connect: refused"}},
                       {{web->key, addr("10.0.0.2:80")}, {true, wall_, ""}}});
  run();
  const auto one_is_out = ElementsAre(ProgrammedBackend{addr("10.0.0.1:80"), 0},
                                      ProgrammedBackend{addr("10.0.0.2:80"), 1});
  EXPECT_THAT(programmed("127.0.0.1:80"), one_is_out);
  dataplane_.calls.clear();
  engine_->set_health(engine_->down());
  run();
  start();
  EXPECT_THAT(programmed("127.0.0.1:80"), one_is_out);
  EXPECT_TRUE(dataplane_.calls.empty()) << "nothing is new";
  EXPECT_EQ(engine_->down().size(), 1U);
  engine_->set_health({});
  run();
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{addr("10.0.0.1:80"), 1},
                                                      ProgrammedBackend{addr("10.0.0.2:80"), 1}));
}

TEST_F(EngineTest, ADrainOutlivesAMomentWithoutItsBackend) {
  const ServicePtr both =
      offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, "web");
  start();
  deliver({both});
  ASSERT_TRUE(engine_->drains().add(
      {Drain::parse_target("10.0.0.1:80").value(), std::nullopt, wall_, std::nullopt, {}}));
  engine_->replan_soon();
  run();
  const auto drained = ElementsAre(ProgrammedBackend{addr("10.0.0.1:80"), 0, true},
                                   ProgrammedBackend{addr("10.0.0.2:80"), 1});
  EXPECT_THAT(programmed("127.0.0.1:80"), drained);
  deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")}, "web")});
  after(milliseconds(600));
  ASSERT_EQ(programmed("127.0.0.1:80").size(), 1U);
  deliver({both});
  EXPECT_THAT(programmed("127.0.0.1:80"), drained);
  deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")}, "web")});
  after(milliseconds(100));
  after(milliseconds(100));  // it has run out, and the drain rests
  ASSERT_EQ(programmed("127.0.0.1:80").size(), 1U);
  ASSERT_EQ(engine_->drains().all().size(), 1U);
  EXPECT_LE(engine_->next_wakeup(), steady_ + Drains::kRest);
  after(Drains::kRest);
  EXPECT_THAT(engine_->drains().all(), IsEmpty());
}

class LostDrainsFile : public EngineTest {
 protected:
  void drain_one() {
    start();
    deliver({web_of({"10.0.0.1:80", "10.0.0.2:80"})});
    ASSERT_TRUE(engine_->drains().add(
        {Drain::parse_target("10.0.0.1:80").value(), std::nullopt, wall_, std::nullopt, {}}));
    engine_->replan_soon();
    run();
    ASSERT_THAT(programmed("127.0.0.1:80"), drained_);
    engine_->save_all();  // nothing is left that would be written over what the test writes
  }
  static ServicePtr web_of(const std::vector<std::string>& addresses) {
    std::vector<Backend> backends;
    for (const std::string& address : addresses) backends.push_back(listed(address));
    return offered("127.0.0.1:80", std::move(backends), "web");
  }
  const testing::Matcher<std::vector<ProgrammedBackend>> drained_ = ElementsAre(
      ProgrammedBackend{addr("10.0.0.1:80"), 0, true}, ProgrammedBackend{addr("10.0.0.2:80"), 1});
};

TEST_F(LostDrainsFile, StaysInForceAsTheKernelKnowsItUntilItIsAcknowledged) {
  for (const char* content : {"", "junk", R"({"version":2,"drains":[]})"}) {
    drain_one();
    dataplane_.calls.clear();
    folder_.write("drains.json", content);
    start();
    EXPECT_THAT(programmed("127.0.0.1:80"), drained_) << content;
    EXPECT_THAT(dataplane_.calls, IsEmpty());
    start();
    ASSERT_EQ(engine_->drains().all().size(), 1U) << "it is saved again";
    EXPECT_TRUE(engine_->drains().all()[0].recovered);
    ASSERT_TRUE(engine_->drains().remove(addr("10.0.0.1:80")));
    engine_->replan_soon();
    run();
    EXPECT_EQ(programmed("127.0.0.1:80")[0], (ProgrammedBackend{addr("10.0.0.1:80"), 1}));
  }
}

TEST_F(LostDrainsFile, ThatIsJustGoneIsLostToo) {
  drain_one();
  std::filesystem::remove(folder_.file("drains.json"));
  start();
  EXPECT_THAT(programmed("127.0.0.1:80"), drained_);
}

TEST_F(LostDrainsFile, HasNothingToDoWithWhatIsOutForAnotherReason) {
  drain_one();
  ASSERT_TRUE(engine_->drains().remove(addr("10.0.0.1:80")));
  Backend down = listed("10.0.0.1:80");
  down.weight = 0;
  deliver({offered("127.0.0.1:80", {down, listed("10.0.0.2:80")}, "web")});
  ASSERT_EQ(programmed("127.0.0.1:80")[0], (ProgrammedBackend{addr("10.0.0.1:80"), 0}));
  engine_->save_all();
  folder_.write("drains.json", "junk");
  start();
  EXPECT_THAT(engine_->drains().all(), IsEmpty());
}

TEST_F(EngineTest, BrokenSavedFilesDoNotKeepItFromStarting) {
  folder_.write("drains.json", "junk");
  folder_.write("departures.json", "{}");
  start();
  deliver_both();
  EXPECT_EQ(programmed("127.0.0.1:80").size(), 2U);
}

// What makes it cheap: all others are neither merged again nor looked at by the reconciler. (Milliseconds
// are for tools/bench: here they would tell of the neighbours.)
TEST_F(EngineTest, OneChangeAmongTenThousandServicesTouchesNoOther) {
  start();
  std::vector<ServicePtr> many;
  for (unsigned i = 0; i < 10'000; ++i)
    many.push_back(offered("127.0.0.1:" + std::to_string(i + 1),
                           {listed("10.0.0.1:9000"), listed("10.0.0.2:9000")}));
  const Snapshot first = snapshot(many);
  engine_->deliver(*engine_->slots()[0], first);
  run();
  many[5000] = offered("127.0.0.1:5001", {listed("10.0.0.1:9000", 7), listed("10.0.0.2:9000")});
  const Snapshot next = snapshot(many);
  const std::size_t writes = dataplane_.writes;
  const DesiredState before = engine_->reconciler().desired();

  engine_->deliver(*engine_->slots()[0], next);
  engine_->apply_all();
  EXPECT_EQ(dataplane_.writes, writes + 1);
  std::vector<ServiceKey> touched;
  for (const auto& [service_key, service] : engine_->reconciler().desired())
    if (before.at(service_key) != service) touched.push_back(service_key);
  EXPECT_THAT(touched, ElementsAre(key("127.0.0.1:5001")));
}

std::shared_ptr<const Reach> rights(AddressRanges claims, AddressRanges publish, bool of_host) {
  Reach out;
  out.claims = std::move(claims);
  out.publish = std::move(publish);
  out.of_host = of_host;
  return std::make_shared<const Reach>(std::move(out));
}

// An address that goes to another host is no longer a file's to have, and comes back with it.
TEST_F(EngineTest, WhatASourceMayHaveIsJudgedAgainWhenAddressesOfTheHostComeAndGo) {
  start();
  engine_->slots()[0]->set_rights(
      {}, rights(AddressRanges::this_host(), AddressRanges::this_host(), true));
  engine_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.9")});
  deliver({offered("10.0.0.9:80", {listed("10.0.0.2:80")})});
  EXPECT_EQ(programmed("10.0.0.9:80").size(), 1U);
  engine_->set_local_addresses({ip("127.0.0.1")});
  run();
  EXPECT_EQ(programmed("10.0.0.9:80").size(), 0U);
  const auto refused = engine_->reconciler().effective(key("10.0.0.9:80"));
  EXPECT_EQ(refused->condition, Condition::Refused);
  EXPECT_THAT(refused->text, testing::HasSubstr("which is not this host's"));
  engine_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.9")});
  run();
  EXPECT_EQ(programmed("10.0.0.9:80").size(), 1U);
}

TEST_F(EngineTest, AWildcardIsNarrowedToWhatItsSourceMayPublishAndSaysSo) {
  start();
  engine_->slots()[0]->set_rights({}, rights(AddressRanges::loopback(), {}, false));
  engine_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.9")});
  deliver({offered("0.0.0.0:9999", {listed("10.0.0.2:80")})});
  const ServiceKey wildcard = key("0.0.0.0:9999");
  EXPECT_THAT(dataplane_.service(wildcard)->addresses,
              testing::ElementsAre(ip("::1"), ip("127.0.0.1")));
  const auto seen = engine_->reconciler().effective(wildcard);
  EXPECT_EQ(seen->condition, Condition::LocalOnly);
  EXPECT_THAT(seen->text, testing::HasSubstr("[publish]"));

  AddressRanges at;
  at.add(ip("10.0.0.9"));
  AddressRanges with_loopback = AddressRanges::loopback();
  with_loopback.add(at);
  engine_->slots()[0]->set_rights({}, rights(with_loopback, at, false));
  engine_->replan_soon();
  run();
  EXPECT_EQ(engine_->reconciler().effective(wildcard)->condition, Condition::Ok);
  EXPECT_EQ(dataplane_.service(wildcard)->addresses.size(), 3U);
  EXPECT_TRUE(dataplane_.service(wildcard)->withheld.empty());
}

TEST_F(EngineTest, AnAddressThatIsNotForPublishingIsWithheldFromOtherHosts) {
  start();
  engine_->slots()[0]->set_rights({}, rights(AddressRanges::this_host(), {}, false));
  engine_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.9")});
  deliver({offered("10.0.0.9:80", {listed("10.0.0.2:80")})});
  EXPECT_THAT(dataplane_.service(key("10.0.0.9:80"))->withheld,
              testing::ElementsAre(ip("10.0.0.9")));
  engine_->slots()[0]->set_rights(
      {}, rights(AddressRanges::this_host(), AddressRanges::this_host(), false));
  engine_->replan_soon();
  run();
  EXPECT_TRUE(dataplane_.service(key("10.0.0.9:80"))->withheld.empty()) << "after a reload";
}

}  // namespace
}  // namespace lb
