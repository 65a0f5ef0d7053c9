// An lbd that is killed before it has saved, and one that has slept.
#include <filesystem>

#include "unit/daemon/engine_fixture.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Field;

class EngineRestart : public EngineFixture {
 protected:
  // SIGKILL, while the disk hangs.
  void stop_saving() {
    engine_->save_in([](const auto&, const auto&) {}, [](auto) { return false; });
  }
  void drain(std::string_view target) {
    ASSERT_TRUE(engine_->drains().add(
        {.target = addr(target), .service = {}, .since = wall_, .terminate_at = {}, .ids = {}}));
    engine_->replan_soon();
    run();
  }
  void kill_and_start() {
    engine_.reset();
    start();
  }
  void one_departs_and_is_to_be_terminated() {
    start();
    settings_.terminate_on_timeout = true;
    engine_->configure(settings_, engine_->slots());
    deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")})});
    dataplane_.active[{key("127.0.0.1:80"), Address::parse("10.0.0.1:80").value()}] = 3;
    deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")})});
  }
  static testing::Matcher<ProgrammedBackend> used(std::string_view address, bool is_used) {
    const testing::Matcher<std::uint32_t> weight =
        is_used ? testing::Matcher<std::uint32_t>(testing::Gt(0U)) : testing::Eq(0U);
    return testing::AllOf(Field(&ProgrammedBackend::address, Address::parse(address).value()),
                          Field(&ProgrammedBackend::weight, weight));
  }
};

TEST_F(EngineRestart, WhatWasInForceAndNotSavedStays) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")})});
  stop_saving();
  dataplane_.active[{key("127.0.0.1:80"), Address::parse("10.0.0.1:80").value()}] = 1;
  deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80"), listed("10.0.0.3:80")})});
  ASSERT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(used("10.0.0.1:80", false), used("10.0.0.2:80", true),
                          used("10.0.0.3:80", true)));
  kill_and_start();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(used("10.0.0.1:80", false), used("10.0.0.2:80", true),
                          used("10.0.0.3:80", true)));
  // And the source has the last word.
  deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")})});
  EXPECT_THAT(programmed("127.0.0.1:80"), testing::Contains(used("10.0.0.2:80", true)));
  EXPECT_THAT(programmed("127.0.0.1:80"),
              testing::Not(testing::Contains(used("10.0.0.1:80", true))));
}

// What left while lbd was away departs: of many services a slice in each turn, and not on half of an answer.
TEST_F(EngineRestart, WhatManyServicesLostMeanwhileDeparts) {
  start();
  std::vector<ServicePtr> many, less;
  for (int port = 1; port <= 300; ++port) {
    const std::string at = "127.0.0.1:" + std::to_string(port);
    many.push_back(offered(at, {listed("10.0.0.1:80"), listed("10.0.0.2:80")}));
    less.push_back(offered(at, {listed("10.0.0.2:80")}));
    dataplane_.active[{key(at), addr("10.0.0.1:80")}] = 1;
  }
  deliver(many);
  engine_->save_all();
  std::filesystem::remove_all(folder_.file("sources"));
  kill_and_start();
  dataplane_.most_read_at_once = 0;
  deliver(less);
  EXPECT_LE(dataplane_.most_read_at_once, 64U);
  for (int port = 1; port <= 300; ++port)
    EXPECT_THAT(programmed("127.0.0.1:" + std::to_string(port)),
                ElementsAre(used("10.0.0.1:80", false), used("10.0.0.2:80", true)));
}

// Of UDP only what is listed is known: nothing is written before the last slice was read.
TEST_F(EngineRestart, WhatManyUdpServicesLostMeanwhileDeparts) {
  start();
  std::vector<ServicePtr> many, less;
  for (int port = 1; port <= 300; ++port) {
    const std::string at = "udp://127.0.0.1:" + std::to_string(port);
    many.push_back(offered(at, {listed("10.0.0.1:80"), listed("10.0.0.2:80")}));
    less.push_back(offered(at, {listed("10.0.0.2:80")}));
    dataplane_.active[{key(at), addr("10.0.0.1:80")}] = 1;
  }
  deliver(many);
  engine_->save_all();
  std::filesystem::remove_all(folder_.file("sources"));
  kill_and_start();
  deliver(less);
  for (int port = 1; port <= 300; ++port)
    ASSERT_THAT(programmed("udp://127.0.0.1:" + std::to_string(port)),
                ElementsAre(used("10.0.0.1:80", false), used("10.0.0.2:80", true)));
}

TEST_F(EngineRestart, NothingIsRemovedBeforeTheKernelCouldBeRead) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80")}),
           offered("127.0.0.1:81", {listed("10.0.0.1:81")})});
  dataplane_.active[{key("127.0.0.1:80"), addr("10.0.0.1:80")}] = 1;
  engine_->save_all();
  std::filesystem::remove_all(folder_.file("sources"));
  kill_and_start();
  dataplane_.failing_reads = true;
  deliver({offered("127.0.0.1:81", {listed("10.0.0.1:81")})});
  after(5s);
  EXPECT_NE(dataplane_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_THAT(engine_->problems(), testing::Contains(testing::HasSubstr("still has")));
  dataplane_.failing_reads = false;
  after(5s);
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(used("10.0.0.1:80", false)));
  EXPECT_THAT(engine_->problems(), testing::IsEmpty());
}

TEST_F(EngineRestart, ADrainThatWasNotSavedIsKnownFromTheKernel) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")})});
  stop_saving();
  ASSERT_TRUE(engine_->drains().add({.target = Address::parse("10.0.0.1:80").value(),
                                     .service = std::nullopt,
                                     .since = wall_,
                                     .terminate_at = std::nullopt,
                                     .ids = {}}));
  engine_->replan_soon();
  run();
  kill_and_start();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(used("10.0.0.1:80", false), used("10.0.0.2:80", true)));
  EXPECT_EQ(engine_->drains().all().size(), 1U);
}

TEST_F(EngineRestart, AServiceThatIsNotOnDiskIsNotTakenForOneThatLeft) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80")})});
  dataplane_.active[{key("127.0.0.1:80"), Address::parse("10.0.0.1:80").value()}] = 1;
  deliver({});
  after(1s);  // it departs, and that is saved
  stop_saving();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")})});
  kill_and_start();
  EXPECT_THAT(programmed("127.0.0.1:80"), testing::Contains(used("10.0.0.2:80", true)));
}

// Deadlines that passed while lbd slept are judged when what waited has been read.
TEST_F(EngineRestart, AfterSleepTheSourceSpeaksFirst) {
  one_departs_and_is_to_be_terminated();
  dataplane_.calls.clear();
  sleep(20min);
  EXPECT_THAT(dataplane_.calls, testing::Not(testing::Contains("terminate 10.0.0.1:80")));
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")})});
  after(2s);
  EXPECT_THAT(dataplane_.calls, testing::Not(testing::Contains("terminate 10.0.0.1:80")));
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(used("10.0.0.1:80", true), used("10.0.0.2:80", true)));
}

// Deadlines stand still after sleep, but what an operator orders then does not wait for its disk.
TEST_F(EngineRestart, AfterSleepOrdersAreSavedAtOnce) {
  start();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")})});
  std::vector<std::function<void()>> disk;
  engine_->save_in([&](std::function<Result<>()> job,
                       Saver::Done done) { disk.push_back([=] { done(job()); }); },
                   [](auto) { return true; });
  drain("10.0.0.1:80");
  ASSERT_EQ(disk.size(), 1U) << "a save is under way";
  sleep(10s);
  drain("10.0.0.2:80");
  bool saved = false;
  engine_->save_orders([&](const Result<>& result) { saved = result.has_value(); });
  disk.at(0)();
  EXPECT_LE(engine_->next_wakeup(), steady_);
  run();
  ASSERT_EQ(disk.size(), 2U);
  disk.at(1)();
  EXPECT_TRUE(saved);
}

TEST_F(EngineRestart, AfterSleepADeadlineIsADeadlineAllTheSame) {
  one_departs_and_is_to_be_terminated();
  sleep(20min);
  after(1100ms);
  after(200ms);
  EXPECT_THAT(dataplane_.calls, testing::Contains("terminate 10.0.0.1:80"));
}

}  // namespace
}  // namespace lb
