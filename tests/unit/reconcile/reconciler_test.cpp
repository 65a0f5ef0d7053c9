#include "reconcile/reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <functional>
#include <random>

#include "reconciler_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ReconcilerTest : public ReconcilerFixture {};

TEST_F(ReconcilerTest, ProgramsWhatIsWanted) {
  start();
  EXPECT_EQ(run({service("127.0.0.1:80", {backend("10.0.0.1:9000", 7)})}).upserted, 1U);
  const ProgrammedService* web = dataplane_.service(key("127.0.0.1:80"));
  ASSERT_NE(web, nullptr);
  EXPECT_THAT(web->addresses, ElementsAre(ip("::1"), ip("127.0.0.1")));
  EXPECT_THAT(web->backends, ElementsAre(ProgrammedBackend{addr("10.0.0.1:9000"), 1}));
}

TEST_F(ReconcilerTest, SecondStepHasNothingToDo) {
  start();
  run({service("127.0.0.1:80")});
  EXPECT_EQ(run({service("127.0.0.1:80")}).upserted, 0U);
  EXPECT_EQ(dataplane_.writes, 1U);
}

TEST_F(ReconcilerTest, RestartWithNothingChangedWritesNothing) {
  start();
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")}), service("0.0.0.0:81")});
  const std::size_t before = dataplane_.writes;
  start();
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")}), service("0.0.0.0:81")});
  reconciler_->all_sources_delivered();
  run();
  EXPECT_EQ(dataplane_.writes, before);
}

TEST_F(ReconcilerTest, UnclaimedServiceStaysUntilAllSourcesHaveDelivered) {
  start();
  run({service("127.0.0.1:80"), service("127.0.0.1:81")});
  start();
  run({service("127.0.0.1:80")});
  EXPECT_NE(dataplane_.service(key("127.0.0.1:81")), nullptr);
  reconciler_->all_sources_delivered();
  EXPECT_EQ(run().removed, 1U);
  EXPECT_EQ(dataplane_.service(key("127.0.0.1:81")), nullptr);
  EXPECT_NE(dataplane_.service(key("127.0.0.1:80")), nullptr);
}

TEST_F(ReconcilerTest, ServiceClaimedOnceAndThenLeftIsRemovedAtOnce) {
  start();
  run({service("127.0.0.1:80")});
  start();
  run({service("127.0.0.1:80")});
  EXPECT_EQ(run({}).removed, 1U);
}

TEST_F(ReconcilerTest, UnclaimedServiceIsShownAsItIsProgrammed) {
  const ServiceKey web = key("127.0.0.1:80");
  dataplane_.plant({web,
                    {ip("127.0.0.1")},
                    Balance::LeastConn,
                    {{addr("10.0.0.1:9000"), 0, true}, {addr("10.0.0.2:9000"), 1}}});
  start();
  EXPECT_THAT(reconciler_->unclaimed(), ElementsAre(web));
  const DesiredServicePtr shown = reconciler_->effective(web);
  ASSERT_NE(shown, nullptr);
  EXPECT_EQ(shown->condition, Condition::Unclaimed);
  ASSERT_EQ(shown->backends.size(), 2U);
  EXPECT_EQ(shown->backends[0].reason, Reason::Operator);
  EXPECT_EQ(shown->backends[1].effective_weight, 1U);
  run({service("127.0.0.1:80", {backend("10.0.0.2:9000")})});
  EXPECT_THAT(reconciler_->unclaimed(), IsEmpty());
  EXPECT_EQ(reconciler_->effective(web)->condition, Condition::Ok);
}

TEST_F(ReconcilerTest, UnclaimedServiceKeepsItsAddressFromAnAlias) {
  start();
  run({service("[::1]:80")});
  start();
  run({service("127.0.0.1:80")});
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("127.0.0.1")));
  reconciler_->all_sources_delivered();
  run();
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("::1"), ip("127.0.0.1")));
}

TEST_F(ReconcilerTest, AliasIsGivenUpBeforeItsNewOwnerTakesIt) {
  start();
  run({service("127.0.0.1:80")});
  dataplane_.calls.clear();
  run({service("127.0.0.1:80"), service("[::1]:80")});
  EXPECT_THAT(dataplane_.calls, ElementsAre("upsert tcp://127.0.0.1:80", "upsert tcp://[::1]:80"));
  EXPECT_THAT(addresses("127.0.0.1:80"), ElementsAre(ip("127.0.0.1")));
  EXPECT_EQ(reconciler_->owner(key("[::1]:80")), key("[::1]:80"));
  run({service("127.0.0.1:80")});
  EXPECT_EQ(reconciler_->owner(key("[::1]:80")), key("127.0.0.1:80"));
}

TEST_F(ReconcilerTest, WildcardFollowsTheHostsAddresses) {
  start();
  run({service("0.0.0.0:80")});
  reconciler_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.1"), ip("10.0.0.2")});
  run();
  EXPECT_THAT(addresses("0.0.0.0:80"),
              ElementsAre(ip("::1"), ip("10.0.0.1"), ip("10.0.0.2"), ip("127.0.0.1")));
}

TEST_F(ReconcilerTest, RemovedServiceKeepsItsBackendsButNoAddress) {
  start();
  DesiredService web = service("127.0.0.1:80", {backend("10.0.0.1:9000")});
  run({web});
  web.removed = true;
  web.backends[0].effective_weight = 0;
  run({web});
  const ProgrammedService* left = dataplane_.service(web.key);
  ASSERT_NE(left, nullptr);
  EXPECT_THAT(left->addresses, IsEmpty());
  EXPECT_THAT(left->backends, ElementsAre(ProgrammedBackend{addr("10.0.0.1:9000"), 0}));
}

TEST_F(ReconcilerTest, RefusedServiceIsNotProgrammed) {
  start();
  DesiredService ssh = service("127.0.0.1:22");
  ssh.condition = Condition::Refused;
  EXPECT_EQ(run({ssh}).upserted, 0U);
}

TEST_F(ReconcilerTest, FailureIsRetriedWithBackoffAndShown) {
  start();
  dataplane_.failing_keys[key("127.0.0.1:80")] = ENOSPC;
  EXPECT_EQ(run({service("127.0.0.1:80"), service("127.0.0.1:81")}).failed, 1U);
  EXPECT_NE(dataplane_.service(key("127.0.0.1:81")), nullptr);
  ASSERT_EQ(reconciler_->failures().size(), 1U);
  EXPECT_THAT(reconciler_->failures().begin()->second.error, HasSubstr("No space left"));
  EXPECT_EQ(reconciler_->next_wakeup(), now_ + milliseconds(100));

  EXPECT_EQ(after(milliseconds(99)).failed, 0U);
  EXPECT_EQ(after(milliseconds(1)).failed, 1U);
  EXPECT_EQ(after(milliseconds(199)).failed, 0U);
  dataplane_.failing_keys.clear();
  EXPECT_EQ(after(milliseconds(1)).upserted, 1U);
  EXPECT_THAT(reconciler_->failures(), IsEmpty());
}

TEST_F(ReconcilerTest, RemovalIsNotBlockedByFailingAdditions) {
  start();
  run({service("127.0.0.1:80")});
  dataplane_.failing_keys[key("127.0.0.1:1")] = ENOSPC;
  const StepResult r = run({service("127.0.0.1:1")});
  EXPECT_EQ(r.failed, 1U);
  EXPECT_EQ(r.removed, 1U);
}

TEST_F(ReconcilerTest, FailureOfAServiceNobodyWantsAnyMoreIsForgotten) {
  start();
  dataplane_.failing_keys[key("127.0.0.1:80")] = ENOSPC;
  run({service("127.0.0.1:80")});
  run({});
  EXPECT_THAT(reconciler_->failures(), IsEmpty());
}

TEST_F(ReconcilerTest, ConnectionsLeftOfARemovedServiceAreNoDrift) {
  start();
  run({service("127.0.0.1:80")});
  reconciler_->all_sources_delivered();
  EXPECT_EQ(run({}).removed, 1U);
  dataplane_.left = {key("127.0.0.1:80")};
  EXPECT_EQ(after(Reconciler::kDrift).removed, 0U);
  start();
  reconciler_->all_sources_delivered();
  EXPECT_EQ(run({}).removed, 0U) << "nor after a restart";
}

TEST_F(ReconcilerTest, WhatCannotBeReadBackIsAProblemUntilItCan) {
  start();
  dataplane_.failing_reads = true;
  after(Reconciler::kDrift);
  EXPECT_THAT(reconciler_->problems(), ElementsAre(HasSubstr("cannot read back")));
  dataplane_.failing_reads = false;
  after(Reconciler::kDrift);
  EXPECT_THAT(reconciler_->problems(), IsEmpty());
}

TEST_F(ReconcilerTest, DriftIsRepairedWithinHalfAMinute) {
  start();
  run({service("127.0.0.1:80", {backend("10.0.0.1:9000")}), service("127.0.0.1:81")});
  dataplane_.tamper(key("127.0.0.1:80"));
  dataplane_.plant({key("127.0.0.1:81"), {}, Balance::Random, {}});
  dataplane_.plant({key("127.0.0.1:82"), {}, Balance::Random, {}});
  reconciler_->all_sources_delivered();
  EXPECT_EQ(after(Reconciler::kDrift - milliseconds(1)).upserted, 0U);
  const StepResult repaired = after(milliseconds(1));
  EXPECT_EQ(repaired.upserted, 2U);
  EXPECT_EQ(repaired.removed, 1U);
  EXPECT_EQ(dataplane_.services(), reconciler_->applied());
}

// Ten thousand services at once would hold up the loop.
TEST_F(ReconcilerTest, DriftIsLookedForInSlices) {
  start();
  std::vector<DesiredService> many;
  for (int port = 1; port <= 300; ++port)
    many.push_back(service("127.0.0.1:" + std::to_string(port)));
  run(many);
  dataplane_.tamper(key("127.0.0.1:1"));
  dataplane_.tamper(key("127.0.0.1:299"));
  dataplane_.plant({key("127.0.0.1:150"), {}, Balance::Random, {}});
  dataplane_.most_read_at_once = 0;
  EXPECT_EQ(after(Reconciler::kDrift).upserted, 3U);
  EXPECT_EQ(dataplane_.most_read_at_once, Reconciler::kCompared);
  EXPECT_EQ(dataplane_.services(), reconciler_->applied());
}

TEST_F(ReconcilerTest, WhatIsWrittenBetweenTwoSlicesIsNoDrift) {
  start();
  std::vector<DesiredService> many;
  for (int port = 1; port <= 200; ++port)
    many.push_back(service("127.0.0.1:" + std::to_string(port)));
  run(many);
  reconciler_->all_sources_delivered();
  now_ += Reconciler::kDrift;
  EXPECT_TRUE(reconciler_->step(now_, SysTime{}, 256).more) << "the first slice of four";
  many.erase(many.begin() + 150);
  many.push_back(service("127.0.0.1:199", {backend("10.0.0.1:9000")}));
  many.erase(many.begin() + 197);
  many.push_back(service("127.0.0.1:500"));
  const std::size_t before = dataplane_.writes;
  const StepResult rest = run(many);
  EXPECT_EQ(rest.upserted, 2U);
  EXPECT_EQ(rest.removed, 1U);
  EXPECT_EQ(dataplane_.writes - before, 3U);
  EXPECT_EQ(after(Reconciler::kDrift).upserted, 0U);
}

TEST_F(ReconcilerTest, LimitBoundsOneStep) {
  start();
  std::vector<DesiredService> many;
  for (int port = 1; port <= 10; ++port)
    many.push_back(service("127.0.0.1:" + std::to_string(port)));
  reconciler_->want(state(many));
  const StepResult first = reconciler_->step(now_, SysTime{}, 4);
  EXPECT_EQ(first.upserted, 4U);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(run().upserted, 6U);
}

TEST_F(ReconcilerTest, EnoughEndsAStepAfterSomeWrites) {
  start();
  std::vector<DesiredService> many;
  for (int port = 1; port <= 50; ++port)
    many.push_back(service("127.0.0.1:" + std::to_string(port)));
  reconciler_->want(state(many));
  const StepResult first = reconciler_->step(now_, SysTime{}, 256, [] { return true; });
  EXPECT_EQ(first.upserted, Reconciler::kAtLeast);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(run().upserted, 50 - Reconciler::kAtLeast);
}

// The last of them may give up what the first one takes.
TEST_F(ReconcilerTest, NothingIsWrittenBeforeAllIsSorted) {
  constexpr std::size_t kMany = 2 * Reconciler::kSorted;
  start();
  std::vector<DesiredService> many;
  for (std::size_t port = 1; port <= kMany; ++port)
    many.push_back(service("127.0.0.1:" + std::to_string(port)));
  reconciler_->want(state(many));
  int steps = 0;
  StepResult step;
  while (step.upserted == 0) {
    step = reconciler_->step(now_, SysTime{}, 1, [] { return true; });
    ASSERT_TRUE(step.more);
    ++steps;
  }
  EXPECT_GT(steps, 1) << "none took long";
  EXPECT_EQ(run().upserted, kMany - 1);
}

// Property: whatever is wanted, and whichever calls fail, time brings the kernel there.
TEST_F(ReconcilerTest, ConvergesAfterFailures) {
  std::mt19937 random(7);
  start();
  for (int round = 0; round < 200; ++round) {
    std::vector<DesiredService> wanted;
    for (const char* at :
         {"127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "[::]:80", "10.0.0.1:80", "udp://127.0.0.1:80"})
      if (random() % 2 == 0)
        wanted.push_back(
            service(at, {backend("10.0.0.9:1", static_cast<std::uint32_t>(random() % 3))}));
    dataplane_.failing_calls = {dataplane_.writes + random() % 3, dataplane_.writes + random() % 5};
    run(wanted);
    after(Reconciler::kDrift);
    after(Reconciler::kDrift);
    AppliedState expected;
    const DesiredState desired = state(wanted);
    for (const auto& [k, s] : desired)
      expected.emplace(
          k, to_programmed(*s, frontend_addresses(k, desired, reconciler_->local_addresses())));
    ASSERT_EQ(dataplane_.services(), expected) << "round " << round;
  }
}

// The bar of issue 2 is 5 ms for all of lbd; this leaves room for slow machines and sanitizers.
// By the clock of this thread, which stands still while others have the CPU.
std::chrono::nanoseconds cpu_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec at{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec);
  };
  const auto begin = now();
  work();
  return now() - begin;
}

TEST_F(ReconcilerTest, OneChangeAmongTenThousandServicesIsCheap) {
  start();
  std::vector<DesiredService> many;
  for (unsigned i = 0; i < 10'000; ++i) {
    DesiredService s = service("127.0.0.1:1", {backend("10.0.0.1:9000"), backend("10.0.0.2:9000")});
    s.key.port = static_cast<Port>(i + 1);
    many.push_back(s);
  }
  DesiredState desired = state(many);
  const auto first = cpu_of([&] {
    reconciler_->want(desired);
    run();
  });
  many[5000].backends[0].effective_weight = 1;
  desired[many[5000].key] = std::make_shared<const DesiredService>(many[5000]);
  StepResult result;
  const auto second = cpu_of([&] {
    reconciler_->want(std::move(desired));
    result = run();
  });
  EXPECT_EQ(result.upserted, 1U);
  EXPECT_LT(second, first / 4);
}

}  // namespace
}  // namespace lb
