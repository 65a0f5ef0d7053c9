// The event stream: how fast it is, and every way in which it ends.
#include <algorithm>

#include "base/spawn.h"
#include "netns/marathon/fixture.h"
#include "sources/marathon_stream.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class Events : public MarathonTest {
 protected:
  FakeMarathon& begin(FakeMarathonOptions options = {}) {
    FakeMarathon& marathon = add_node(std::move(options));
    marathon.add_app({.id = "/web", .ports = {10001}});
    keep_ = marathon.launch("/web", "10.0.0.1", {31001});
    start();
    EXPECT_TRUE(reaches({"10.0.0.1:31001 active"}));
    EXPECT_TRUE(streams());
    return marathon;
  }
  std::string keep_;
};

TEST_F(Events, ReachUsWithinAFewHundredMilliseconds) {
  FakeMarathon& marathon = begin();
  std::vector<std::chrono::nanoseconds> times;
  for (int i = 0; i < 30; ++i) {
    const auto task = marathon.launch("/web", "10.0.0.2", {31001});
    ASSERT_TRUE(until([&] { return active() == 2; }));
    const auto killed = steady_clock::now();
    marathon.kill(task);
    ASSERT_TRUE(until([&] { return active() == 1; }));
    times.push_back(steady_clock::now() - killed);
  }
  std::sort(times.begin(), times.end());
  RecordProperty("median_us", static_cast<int>(times[15].count() / 1000));
  RecordProperty("worst_us", static_cast<int>(times.back().count() / 1000));
  EXPECT_LE(times.back(), test::promised(300ms));
}

TEST_F(Events, DrainAKilledTaskBeforeMarathonAnswersAnything) {
  FakeMarathon& marathon = begin();
  marathon.launch("/web", "10.0.0.2", {31001});
  ASSERT_TRUE(until([&] { return active() == 2; }));
  marathon.fault("hang");
  const auto killed = steady_clock::now();
  marathon.kill(keep_, 60s);  // TASK_KILLING
  ASSERT_TRUE(reaches({"10.0.0.1:31001 draining", "10.0.0.2:31001 active"}));
  EXPECT_LE(steady_clock::now() - killed, test::promised(300ms));
}

// All tasks of an app at once, on purpose: the guard need not hold what events have told.
TEST_F(Events, ExplainTheLossOfEverything) {
  FakeMarathon& marathon = begin();
  for (int i = 2; i <= 6; ++i) marathon.launch("/web", "10.0.0." + std::to_string(i), {31001});
  ASSERT_TRUE(until([&] { return active() == 6; }));
  marathon.remove_app("/web");
  EXPECT_TRUE(reaches({}, 3s));
  EXPECT_FALSE(guard_.held());
}

TEST_F(Events, BringReadingsEvenDuringAStorm) {
  FakeMarathon& marathon = begin();
  watch_for(200ms);
  const int before = marathon.count("/v2/apps");
  const auto end = steady_clock::now() + 3s;
  (void)until(
      [&] {
        marathon.call(R"({"do":"emit","event":"health_status_changed_event"})");
        return steady_clock::now() >= end;
      },
      4s);
  // How few they are is a matter of the plan alone, and tested there.
  EXPECT_GE(marathon.count("/v2/apps") - before, 2);
}

TEST_F(Events, OpenAgainAfterEveryEnd) {
  FakeMarathon& marathon = begin();
  for (const char* how : {"close", "reset", "half_close"}) {
    const int before = marathon.count("/v2/events");
    marathon.streams(how);
    ASSERT_TRUE(until([&] { return marathon.count("/v2/events") > before; })) << how;
    ASSERT_TRUE(streams()) << how;
    const auto task = marathon.launch("/web", "10.0.0.2", {31001});
    ASSERT_TRUE(until([&] { return active() == 2; })) << how;
    marathon.kill(task);
    ASSERT_TRUE(until([&] { return active() == 1; })) << how;
  }
  EXPECT_TRUE(errors_.empty());
}

// What changed while it was closed is found although no event tells of it.
TEST_F(Events, AreFollowedByAFullReadingAfterAGap) {
  FakeMarathon& marathon = begin();
  marathon.fault("hang", -1, "/v2/events");
  marathon.streams("reset");
  ASSERT_TRUE(until([&] { return !source_->status().position.ends_with(", events"); }));
  watch_for(300ms);
  marathon.launch("/web", "10.0.0.2", {31001}, std::nullopt, true);
  watch_for(300ms);
  EXPECT_EQ(active(), 1U);
  marathon.fault("none", -1, "/v2/events");
  EXPECT_TRUE(until([&] { return active() == 2; }, 30s));
}

TEST_F(Events, AreNeverTrustedAlone) {
  config_.interval = 500ms;
  FakeMarathon& marathon = begin();
  marathon.launch("/web", "10.0.0.2", {31001}, std::nullopt, true);
  EXPECT_TRUE(until([&] { return active() == 2; }, 3s));
}

TEST_F(Events, OfASilentStreamBringANewOne) {
  FakeMarathon& marathon = add_node({.heartbeat = 100ms});
  marathon::Access access;
  access.endpoints = {marathon.url()};
  marathon::Client client(io_, access);
  const Clocks clocks;
  int opened = 0, closed = 0;
  MarathonStream stream(client, clocks,
                        {.opened = [&] { ++opened; },
                         .closed = [&](bool) { ++closed; },
                         .events = [](const auto&) {}},
                        500ms);
  asio::cancellation_signal cancel;
  spawn(io_, "test", cancel, [&] { return stream.run(); });
  source_.reset();
  const auto run_until = [&](const auto& done) {
    const auto end = steady_clock::now() + 10s;
    while (!done() && steady_clock::now() < end) io_.run_one_for(20ms);
    return done();
  };
  ASSERT_TRUE(run_until([&] { return opened == 1; }));
  const auto quiet = steady_clock::now() + 1500ms;
  (void)run_until([&] { return steady_clock::now() > quiet; });
  EXPECT_EQ(closed, 0);  // heartbeats are no silence
  marathon.streams("stall");
  ASSERT_TRUE(run_until([&] { return closed == 1; }));
  EXPECT_NE(stream.error().find("silent for 500ms"), std::string::npos) << stream.error();
  marathon.streams("resume");
  EXPECT_TRUE(run_until([&] { return opened == 2 && stream.is_open(); }));
  cancel.emit(asio::cancellation_type::terminal);
  io_.restart();
  io_.poll();
}

TEST_F(Events, AskForLittleAndAcceptExactly) {
  FakeMarathon& marathon = begin();
  const std::string said = marathon.call(R"({"do":"requests"})");
  EXPECT_NE(said.find(R"("accept":"text/event-stream")"), std::string::npos);
  EXPECT_NE(said.find("event_type=status_update_event"), std::string::npos);
  EXPECT_NE(said.find("plan-format=light"), std::string::npos);
  EXPECT_NE(said.find("label=marathoner_haproxy_enabled"), std::string::npos);
  EXPECT_NE(said.find(R"("accept-encoding":"gzip")"), std::string::npos);
}

// Before 1.6 a deployment's event has whole groups in it.
TEST_F(Events, OfAnySizeAreHints) {
  FakeMarathon& marathon = begin({.version = "1.3.0"});
  const std::string plan(3 << 20, 'x');
  marathon.launch("/web", "10.0.0.2", {31001}, std::nullopt, true);
  marathon.call(R"({"do":"emit","event":"deployment_success","data":{"plan":{"original":")" + plan +
                R"("}}})");
  EXPECT_TRUE(until([&] { return active() == 2; }, 5s));
  EXPECT_TRUE(source_->status().position.ends_with(", events"));
}

TEST_F(Events, OfALostMesosMakeItsSilenceNoEvidence) {
  config_.interval = 300ms;
  FakeMarathon& marathon = begin();
  const auto other = marathon.launch("/web", "10.0.0.2", {31001});
  ASSERT_TRUE(until([&] { return active() == 2; }));
  marathon.call(R"({"do":"emit","event":"scheduler_disconnected_event"})");
  watch_for(200ms);
  marathon.set_state(other, "TASK_LOST", true);
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find("has lost Mesos"), std::string::npos) << errors_[0];
  EXPECT_EQ(active(), 2U);
  marathon.call(R"({"do":"emit","event":"scheduler_reregistered_event"})");
  EXPECT_TRUE(until([&] { return active() == 1; }));
}

}  // namespace
}  // namespace lb::test
