#include "daemon/operator.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>

#include "engine_fixture.h"
#include "support/run_awaitable.h"

namespace lb {
namespace {

using test::run_awaitable;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class OperatorTest : public EngineFixture {
 protected:
  OperatorTest() {
    start();
    deliver({offered("127.0.0.1:80", {listed("127.0.0.1:9000"), listed("10.0.0.2:9000")})});
  }
  Operator make() {
    fleet_ = Fleet::open(
        folder_.path(), "node1", [] {}, problems_);
    return Operator(
        *engine_, *fleet_, {.version = "1", .config = "x.toml", .started = wall_}, [] {},
        [this] { return Result<std::vector<Listener>>(listeners_); });
  }
  static DrainRequest request(std::string target) {
    return {.what = {std::move(target), ""}, .terminate = false, .terminate_after = {}};
  }

  std::unique_ptr<Fleet> fleet_;
  const ServiceKey web_ = key("127.0.0.1:80");
  const Address one_ = addr("127.0.0.1:9000");
  const Address two_ = addr("10.0.0.2:9000");
};

TEST_F(OperatorTest, DrainAnswersOnlyAfterItIsProgrammedAndSettled) {
  dataplane_.calls.clear();
  dataplane_.active[{web_, two_}] = 3;
  Operator control = make();
  const auto drained = run_awaitable(control.drain(request("10.0.0.2:9000")));
  ASSERT_TRUE(drained) << drained.error().message();
  ASSERT_EQ(drained->size(), 1U);
  EXPECT_EQ(drained->front().connections, 3U);
  EXPECT_EQ(drained->front().state, BackendState::Draining);
  EXPECT_EQ(drained->front().reason, Reason::Operator);
  EXPECT_THAT(dataplane_.calls, ElementsAre("upsert tcp://127.0.0.1:80", "settle"));
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{two_, 0, true}, ProgrammedBackend{one_, 1}));
}

TEST_F(OperatorTest, DrainThatCannotBeSavedIsInForceAndSaysSo) {
  std::filesystem::create_directory(folder_.file("drains.json"));  // in the way
  Operator control = make();
  const auto drained = run_awaitable(control.drain(request("10.0.0.2:9000")));
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().code, std::errc::resource_unavailable_try_again);
  EXPECT_THAT(drained.error().context,
              HasSubstr("the drain of 10.0.0.2:9000 is in force, but not saved: "));
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{two_, 0, true}, ProgrammedBackend{one_, 1}));
  std::filesystem::remove(folder_.file("drains.json"));
  const auto undrained = run_awaitable(control.undrain({"10.0.0.2:9000", ""}));
  EXPECT_TRUE(undrained) << "saved again";
  EXPECT_THAT(folder_.read("drains.json"), HasSubstr("\"drains\":[]"));
}

TEST_F(OperatorTest, DrainDoesNotAnswerWhileTheDataplaneSettles) {
  dataplane_.slow_to_settle = true;
  Operator control = make();
  asio::io_context io{1};
  Result<std::vector<DrainedBackend>> drained = fail("no answer yet");
  asio::co_spawn(io, control.drain(request("10.0.0.2:9000")),
                 [&](const std::exception_ptr&, auto answer) { drained = std::move(answer); });
  io.poll();
  EXPECT_FALSE(drained);
  ASSERT_EQ(dataplane_.unsettled.size(), 1U);
  dataplane_.active[{web_, two_}] = 1;  // it had chosen the backend just before
  dataplane_.unsettled.at(0)({});
  io.poll();
  ASSERT_TRUE(drained);
  EXPECT_EQ(drained->front().connections, 1U);
}

TEST_F(OperatorTest, DrainWhoseClientIsGoneHoldsAllTheSame) {
  dataplane_.slow_to_settle = true;
  Operator control = make();
  asio::io_context io{1};
  asio::cancellation_signal gone;
  std::string error;
  asio::co_spawn(
      io, control.drain(request("10.0.0.2:9000")),
      asio::bind_cancellation_slot(gone.slot(), [&](const std::exception_ptr&, auto answer) {
        error = answer ? "none" : answer.error().message();
      }));
  io.poll();
  gone.emit(asio::cancellation_type::terminal);
  io.poll();
  EXPECT_THAT(error, HasSubstr("grace period"));
  dataplane_.unsettled.at(0)({});
  EXPECT_EQ(engine_->drains().all().size(), 1U);
}

std::vector<ServicePtr> many_services(int count) {
  std::vector<ServicePtr> out;
  for (int port = 1; port <= count; ++port)
    out.push_back(offered("127.0.0.1:" + std::to_string(port), {listed("10.0.0.2:9000")}));
  return out;
}

// With ten thousand services, who asks is not to hold up those that wait for the loop.
TEST_F(OperatorTest, OthersGetTheirTurnWhileServicesAreListed) {
  deliver(many_services(1'000));
  Operator control = make();
  asio::io_context io{1};
  std::size_t listed = 0, turns = 0;
  asio::co_spawn(io, control.list({}),
                 [&](const std::exception_ptr&, auto views) { listed = views->size(); });
  dataplane_.most_read_at_once = 0;
  while (listed == 0 && io.poll_one() > 0) ++turns;
  EXPECT_EQ(listed, 1'000U);
  EXPECT_GE(turns, 1'000U / 64);
  EXPECT_LE(dataplane_.most_read_at_once, 64U);
  const auto status = run_awaitable(control.status());
  EXPECT_EQ(status->services, 1'000U);
  EXPECT_EQ(status->backends, 1'001U) << "one departs";
}

TEST_F(OperatorTest, ADrainOfManyServicesIsProgrammedInTurnsAndAnswersAfterTheLast) {
  deliver(many_services(1'000));
  Operator control = make();
  asio::io_context io{1};
  Result<std::vector<DrainedBackend>> drained = fail("no answer yet");
  asio::co_spawn(io, control.drain(request("10.0.0.2")),
                 [&](const std::exception_ptr&, auto answer) { drained = std::move(answer); });
  std::size_t before = dataplane_.writes, most = 0;
  while (io.poll_one() > 0) {
    most = std::max(most, dataplane_.writes - before);
    before = dataplane_.writes;
  }
  ASSERT_TRUE(drained) << drained.error().message();
  EXPECT_EQ(drained->size(), 1'000U);
  EXPECT_LE(most, 256U);
  for (const auto& [service, programmed] : dataplane_.services())
    EXPECT_EQ(programmed.backends.front().weight, 0U);
}

TEST_F(OperatorTest, DrainSurvivesARestart) {
  Operator control = make();
  ASSERT_TRUE(run_awaitable(control.drain(request("10.0.0.2"))));
  start();
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{two_, 0, true}, ProgrammedBackend{one_, 1}));
}

TEST_F(OperatorTest, DrainOfSomethingUnknownIsAnError) {
  Operator control = make();
  const auto drained = run_awaitable(control.drain(request("10.9.9.9:1")));
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().code, std::errc::no_such_file_or_directory);
}

TEST_F(OperatorTest, DrainThatCannotBeProgrammedIsNoSuccess) {
  dataplane_.failing_keys[web_] = ENOSPC;
  Operator control = make();
  const auto drained = run_awaitable(control.drain(request("10.0.0.2:9000")));
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().code, std::errc::resource_unavailable_try_again);
  dataplane_.failing_keys.clear();
  after(milliseconds(100));
  EXPECT_EQ(programmed("127.0.0.1:80").front().weight, 0U);
}

TEST_F(OperatorTest, TerminatingDrainDestroysAtItsOwnDeadline) {
  dataplane_.active[{web_, two_}] = 2;
  Operator control = make();
  DrainRequest r = request("10.0.0.2:9000");
  r.terminate = true;
  r.terminate_after = milliseconds(5000);
  ASSERT_TRUE(run_awaitable(control.drain(r)));
  after(milliseconds(4999));
  EXPECT_EQ((dataplane_.active[{web_, two_}]), 2U);
  after(milliseconds(1));
  EXPECT_EQ((dataplane_.active[{web_, two_}]), 0U);
  EXPECT_EQ(control.drain_progress({"10.0.0.2:9000", ""})->front().connections, 0U);
}

TEST_F(OperatorTest, TerminatingDrainKeepsItsDeadlineThroughStepsOfTheWallClock) {
  dataplane_.active[{web_, two_}] = 2;
  Operator control = make();
  DrainRequest r = request("10.0.0.2:9000");
  r.terminate = true;
  r.terminate_after = milliseconds(4000);
  ASSERT_TRUE(run_awaitable(control.drain(r)));
  wall_ += std::chrono::hours(24);
  after(milliseconds(3999));
  EXPECT_EQ((dataplane_.active[{web_, two_}]), 2U);
  wall_ -= std::chrono::hours(48);
  after(milliseconds(1));
  EXPECT_EQ((dataplane_.active[{web_, two_}]), 0U);
}

TEST_F(OperatorTest, TerminatingDrainTakesTheTimeoutOfTheServicesThatAgree) {
  const auto service = [](std::string_view at, milliseconds timeout) {
    auto out = std::make_shared<Service>(*offered(at, {listed("10.0.0.2:9000")}, at));
    if (timeout.count() > 0) out->drain_timeout = timeout;
    return out;
  };
  const auto drained_until = [&] {
    DrainRequest r = request("10.0.0.2:9000");
    r.terminate = true;
    Operator control = make();
    EXPECT_TRUE(run_awaitable(control.drain(r)));
    return engine_->drains().all().at(0).terminate_at->wall - wall_;
  };
  deliver({service("127.0.0.1:80", milliseconds(0)), service("127.0.0.1:81", milliseconds(0))});
  EXPECT_EQ(drained_until(), settings_.drain_timeout);
  deliver({service("127.0.0.1:80", milliseconds(7)), service("127.0.0.1:81", milliseconds(7))});
  EXPECT_EQ(drained_until(), milliseconds(7));
  deliver({service("127.0.0.1:80", milliseconds(7)), service("127.0.0.1:81", milliseconds(8))});
  EXPECT_EQ(drained_until(), settings_.drain_timeout);
  deliver({service("127.0.0.1:80", milliseconds(7)), service("127.0.0.1:81", milliseconds(0))});
  EXPECT_EQ(drained_until(), settings_.drain_timeout);
}

TEST_F(OperatorTest, UndrainBringsItBack) {
  Operator control = make();
  ASSERT_TRUE(run_awaitable(control.drain(request("10.0.0.2:9000"))));
  const auto back = run_awaitable(control.undrain({"10.0.0.2:9000", ""}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->front().state, BackendState::Active);
  EXPECT_EQ(programmed("127.0.0.1:80").front().weight, 1U);
  EXPECT_FALSE(run_awaitable(control.undrain({"10.0.0.2:9000", ""})));
}

TEST_F(OperatorTest, DrainOfABackendEndsWhenItHasLeft) {
  dataplane_.active[{web_, two_}] = 1;
  Operator control = make();
  ASSERT_TRUE(run_awaitable(control.drain(request("10.0.0.2:9000"))));
  deliver({offered("127.0.0.1:80", {listed("127.0.0.1:9000")})});
  EXPECT_EQ(control.drain_progress({"10.0.0.2:9000", ""})->size(), 1U);
  dataplane_.active.clear();
  after(milliseconds(100));
  after(milliseconds(100));
  EXPECT_THAT(*control.drain_progress({"10.0.0.2:9000", ""}), IsEmpty());
  EXPECT_EQ(run_awaitable(control.status())->drains.size(), 1U)
      << "if it comes back, it is still drained";
  after(Drains::kRest);
  EXPECT_THAT(run_awaitable(control.status())->drains, IsEmpty());
}

TEST_F(OperatorTest, ListShowsCountsAndConflict) {
  dataplane_.active[{web_, one_}] = 4;
  auto views = run_awaitable(make().list({}));
  ASSERT_EQ(views->size(), 1U);
  EXPECT_EQ(views->front().counts.at(1).active_connections, 4U);
  listeners_ = {{Protocol::Tcp, 81, ip("0.0.0.0"), false, 7}};
  deliver({offered("127.0.0.1:81", {listed("10.0.0.2:9000")})});
  views = run_awaitable(make().list({}));
  EXPECT_EQ(views->back().service->condition, Condition::Conflict);
  EXPECT_THAT(run_awaitable(make().status())->problems.front().text, HasSubstr("nginx (pid 123)"));
}

TEST_F(OperatorTest, AServiceThatIsNotServedAsWantedHasTheConditionThatSaysSo) {
  dataplane_.mode = "ebpf";
  dataplane_.local_only[web_] = "a loopback backend";
  auto views = run_awaitable(make().list({}));
  EXPECT_EQ(views->front().service->condition, Condition::LocalOnly);
  EXPECT_THAT(views->front().service->text, HasSubstr("a loopback backend"));
  EXPECT_EQ(run_awaitable(make().status())->problems.front().condition, Condition::LocalOnly);
  EXPECT_THAT(make().explain(web_)->notes, Contains(HasSubstr("a loopback backend")));
  EXPECT_EQ(make().explain(web_)->outcome, Outcome::Balanced);
  dataplane_.local_only.clear();
  dataplane_.left_out[web_] = "5 backends";
  EXPECT_EQ(run_awaitable(make().list({}))->front().service->condition, Condition::Partial);
  EXPECT_EQ(make().explain(web_)->outcome, Outcome::Balanced);
}

TEST_F(OperatorTest, AServiceWhoseBackendsTheDataplaneCannotUseHasNone) {
  dataplane_.refused[one_] = dataplane_.refused[two_] = "IPv6 backend of an IPv4 service";
  const auto views = run_awaitable(make().list({}));
  EXPECT_EQ(views->front().service->condition, Condition::NoBackends);
  EXPECT_THAT(views->front().service->text, HasSubstr("IPv6 backend"));
}

TEST_F(OperatorTest, StatusShowsWhatOfLbdsOwnIsNotAsItMustBe) {
  EXPECT_THAT(run_awaitable(make().status())->own_problems, IsEmpty());
  dataplane_.problems = {"a hook cannot be put back"};
  EXPECT_THAT(run_awaitable(make().status())->own_problems,
              ElementsAre(OwnProblem{"dataplane", "a hook cannot be put back"}));
}

TEST_F(OperatorTest, StatusAnswersWhenTheDataplaneCannotBeRead) {
  dataplane_.failing_reads = true;
  const auto status = run_awaitable(make().status());
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(status->services, 1U);
  ASSERT_EQ(status->own_problems.size(), 1U);
  EXPECT_THAT(status->own_problems.front().text, HasSubstr("no counts"));
}

TEST_F(OperatorTest, ListOfOneServiceReadsNoOther) {
  deliver(many_services(1'000));
  dataplane_.keys_read = 0;
  const auto all = run_awaitable(make().list({}));
  ASSERT_EQ(all->size(), 1'000U);
  EXPECT_EQ(dataplane_.keys_read, 1'000U);
  dataplane_.keys_read = 0;
  const auto one = run_awaitable(make().list(all->at(700).service->key.to_string()));
  ASSERT_EQ(one->size(), 1U);
  EXPECT_EQ(one->front().service->key, all->at(700).service->key);
  EXPECT_EQ(dataplane_.keys_read, 1U);
}

// What only the dataplane knows is found as well.
TEST_F(OperatorTest, ListOfWhatIsEjectedReadsAll) {
  dataplane_.ejected[one_] = {.lasts = std::chrono::seconds(3)};
  const auto views = run_awaitable(make().list("eject"));
  ASSERT_EQ(views->size(), 1U);
  ASSERT_EQ(views->front().service->backends.size(), 1U);
  EXPECT_EQ(views->front().service->backends.front().backend.address, one_);
}

TEST_F(OperatorTest, ListShowsWhatTheDataplaneCannotUse) {
  dataplane_.refused[one_] = "IPv6 backend of an IPv4 service";
  const auto views = run_awaitable(make().list({}));
  ASSERT_EQ(views->size(), 1U);
  for (const DesiredBackend& b : views->front().service->backends) {
    const bool refused = b.backend.address == one_;
    EXPECT_EQ(b.state == BackendState::Down, refused);
    EXPECT_EQ(b.reason, refused ? Reason::Unsupported : Reason::None);
    EXPECT_EQ(b.effective_weight == 0, refused);
  }
}

TEST_F(OperatorTest, ListShowsWhatTheDataplanePassesOver) {
  using namespace std::chrono_literals;
  dataplane_.ejected[one_] = {.lasts = 3100ms, .held = false, .ago = 5s};
  const auto views = run_awaitable(make().list({}));
  ASSERT_EQ(views->size(), 1U);
  const DesiredService& service = *views->front().service;
  EXPECT_EQ(service.condition, Condition::Ok) << "one at least is left";
  for (const DesiredBackend& b : service.backends) {
    const bool out = b.backend.address == one_;
    EXPECT_EQ(b.state, out ? BackendState::Down : BackendState::Active);
    EXPECT_EQ(b.reason, out ? Reason::Ejected : Reason::None);
    EXPECT_EQ(b.effective_weight == 0, out);
    if (out) {
      EXPECT_THAT(b.text, HasSubstr("tried again within 4 s"));
    }
  }
}

TEST_F(OperatorTest, ExplainNamesTheCandidates) {
  listeners_ = {{Protocol::Tcp, 9000, ip("127.0.0.1"), false, 7}};
  const auto e = make().explain(key("127.0.0.1:80"));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->outcome, Outcome::Direct);  // the fake is a dataplane of mode none
  EXPECT_EQ(e->backends.size(), 2U);
  EXPECT_TRUE(e->backends[1].candidate);
  EXPECT_EQ(e->backends[1].listening, true);
  EXPECT_THAT(e->alias, IsEmpty());
}

TEST_F(OperatorTest, ExplainTellsWhatTheProbeMet) {
  auto web = std::make_shared<Service>(
      *offered("127.0.0.1:80", {listed("127.0.0.1:9000"), listed("10.0.0.2:9000")}));
  web->check = HealthCheck();
  deliver({web});
  engine_->set_health({{{web_, two_}, {false, wall_, "connect: No route to host"}}});
  run();
  const auto explained = make().explain(web_);
  ASSERT_TRUE(explained);
  ASSERT_EQ(explained->backends.size(), 2U);
  EXPECT_FALSE(explained->backends[0].candidate);
  EXPECT_THAT(explained->backends[0].why, AllOf(HasSubstr("weight 0: down (probe-failed) since "),
                                                HasSubstr(": connect: No route to host")));
  EXPECT_THAT(explained->backends[1].why, "active: weight 100 of 100");
}

TEST_F(OperatorTest, ExplainLeavesOutALocalBackendThatDoesNotListen) {
  const auto e = make().explain(key("[::1]:80"));
  EXPECT_THAT(e->alias, HasSubstr("[::1]:80 is an address of service 127.0.0.1:80"));
  EXPECT_TRUE(e->backends[0].candidate);
  EXPECT_FALSE(e->backends[1].candidate);
  EXPECT_THAT(e->backends[1].why, HasSubstr("nothing listens"));
}

TEST_F(OperatorTest, ExplainOfAPortWithoutServiceIsDirect) {
  const auto e = make().explain(key("127.0.0.1:4711"));
  EXPECT_EQ(e->outcome, Outcome::Direct);
  EXPECT_EQ(e->service, nullptr);
}

TEST_F(OperatorTest, SourcesTellWhetherTheyWork) {
  engine_->deliver(*engine_->slots()[0], fail("line 3: broken"));
  const auto sources = make().sources();
  ASSERT_EQ(sources->size(), 1U);
  EXPECT_EQ(sources->front().state, "failing");
  EXPECT_EQ(sources->front().backends, 2U);
}

TEST_F(OperatorTest, AcceptBelievesWhatTheGuardHolds) {
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:1"), listed("10.0.0.2:1"),
                                    listed("10.0.0.3:1"), listed("10.0.0.4:1")})});
  engine_->deliver(*engine_->slots()[0], snapshot({}, Absence::Guarded));
  run();
  Operator control = make();
  ASSERT_EQ(run_awaitable(control.status())->held.size(), 1U);
  ASSERT_EQ(run_awaitable(control.status())->own_problems.size(), 1U) << "nothing at all is left";
  EXPECT_EQ(run_awaitable(control.status())->own_problems.front().what, "files");
  EXPECT_EQ(run_awaitable(control.accept("files"))->removed, 4U);
  EXPECT_THAT(run_awaitable(control.status())->held, IsEmpty());
  EXPECT_FALSE(run_awaitable(control.accept("nobody")));
}

}  // namespace
}  // namespace lb
