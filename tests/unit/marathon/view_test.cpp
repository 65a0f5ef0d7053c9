#include "marathon/view.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;
using Kind = EventHint::Kind;
using Fate = EventHint::Fate;
using Lines = std::vector<std::string>;

const View::TimePoint kViewStart = View::TimePoint(1000s);

Task task(const std::string& id, const std::string& host, const std::string& state) {
  Task out;
  out.id = id;
  out.host = host;
  out.state = state;
  out.ports = {Port{31001}};
  out.started = true;
  return out;
}

App app(std::vector<Task> tasks) {
  App out;
  out.id = "/web";
  out.labels = {{"marathoner_haproxy_enabled", "true"}};
  AppPort port;
  port.service_port = Port{10001};
  out.ports = {port};
  out.tasks = std::move(tasks);
  return out;
}

App with(const std::string& first_state, bool second = true) {
  std::vector<Task> tasks{task("a.1", "10.0.0.1", first_state)};
  if (second) tasks.push_back(task("a.2", "10.0.0.2", "TASK_RUNNING"));
  return app(std::move(tasks));
}

EventHint fate(Fate what, const std::string& id = "a.1") { return {Kind::Read, what, id, "", ""}; }

class ViewTest : public testing::Test {
 protected:
  Lines build(View& view, std::chrono::seconds at = 0s) {
    Lines out;
    for (const auto& service :
         view.build([](const auto&) { return std::nullopt; }, kViewStart + at).services)
      for (const Backend& b : service->backends)
        out.push_back(b.id + " " + std::string(to_string(b.state)));
    return out;
  }
  Lines read(View& view, App one, std::chrono::seconds at = 0s) {
    EXPECT_TRUE(view.replace({std::move(one)}, kViewStart + at));
    return build(view, at);
  }
  View view_{Rules{}, {}};
  const Lines both_{"a.1 active", "a.2 active"};
};

TEST_F(ViewTest, DrainsATaskAtTheWordOfAnEvent) {
  EXPECT_EQ(read(view_, with("TASK_RUNNING")), both_);
  EXPECT_TRUE(view_.apply(fate(Fate::Ends), kViewStart));
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(build(view_), (Lines{"a.1 draining", "a.2 active"}));
  EXPECT_FALSE(view_.apply(fate(Fate::Ends), kViewStart));
  EXPECT_FALSE(view_.apply(fate(Fate::Ends, "unknown"), kViewStart));
  EXPECT_TRUE(view_.gone().empty());  // it is still there
}

TEST_F(ViewTest, NamesWhatHasEndedOnceItIsAbsent) {
  (void)read(view_, with("TASK_RUNNING"));
  EXPECT_TRUE(view_.apply(fate(Fate::Gone), kViewStart));
  EXPECT_EQ(build(view_), (Lines{"a.1 draining", "a.2 active"}));
  EXPECT_TRUE(view_.gone().empty());
  EXPECT_EQ(read(view_, app({task("a.2", "10.0.0.2", "TASK_RUNNING")})), Lines{"a.2 active"});
  EXPECT_EQ(view_.gone(), Lines{"a.1"});
  EXPECT_EQ(view_.missing(), 0U);
  EXPECT_FALSE(view_.take_new_loss());
}

TEST_F(ViewTest, BelievesAnEventAgainstAnOldReadingForAMinute) {
  (void)read(view_, with("TASK_RUNNING"));
  (void)view_.apply(fate(Fate::Gone), kViewStart);
  EXPECT_EQ(read(view_, app({})), Lines{});
  EXPECT_EQ(read(view_, with("TASK_RUNNING"), 10s), (Lines{"a.1 draining", "a.2 active"}));
  EXPECT_EQ(read(view_, with("TASK_RUNNING"), 61s), both_);
}

TEST_F(ViewTest, LetsATaskThatStartsAgainBackIn) {
  (void)read(view_, with("TASK_RUNNING"));
  (void)view_.apply(fate(Fate::Gone), kViewStart);
  EXPECT_FALSE(view_.apply(fate(Fate::Starts), kViewStart + 1s));  // out of order
  EXPECT_EQ(build(view_, 1s), (Lines{"a.1 draining", "a.2 active"}));
  EXPECT_TRUE(view_.apply(fate(Fate::Starts), kViewStart + 3s));
  EXPECT_EQ(build(view_, 3s), both_);
}

TEST_F(ViewTest, NoticesALossThatNobodySpokeOf) {
  (void)read(view_, with("TASK_RUNNING"));
  EXPECT_EQ(read(view_, app({})), Lines{});
  EXPECT_EQ(view_.missing(), 2U);
  EXPECT_TRUE(view_.take_new_loss());
  EXPECT_FALSE(view_.take_new_loss());
  EXPECT_EQ(read(view_, app({}), 1s), Lines{});
  EXPECT_FALSE(view_.take_new_loss());
  EXPECT_EQ(read(view_, with("TASK_RUNNING"), 2s), both_);
  EXPECT_EQ(view_.missing(), 0U);
  EXPECT_EQ(read(view_, app({}), 3s), Lines{});
  EXPECT_TRUE(view_.take_new_loss());
  (void)build(view_, 20s);
  EXPECT_EQ(view_.missing(), 0U);  // it is no news any more
}

TEST_F(ViewTest, LetsALateEventExplainALoss) {
  (void)read(view_, with("TASK_RUNNING"));
  (void)read(view_, app({task("a.2", "10.0.0.2", "TASK_RUNNING")}));
  EXPECT_EQ(view_.missing(), 1U);
  EXPECT_TRUE(view_.apply(fate(Fate::Gone), kViewStart + 1s));
  EXPECT_TRUE(view_.take_explained());
  EXPECT_FALSE(view_.take_explained());
  EXPECT_EQ(view_.missing(), 0U);
  (void)build(view_, 1s);
  EXPECT_EQ(view_.gone(), Lines{"a.1"});
}

TEST_F(ViewTest, EndsInstancesAndWholeApps) {
  (void)read(view_, with("TASK_RUNNING"));
  EXPECT_TRUE(view_.apply({Kind::Read, Fate::Ends, "", "a.marathon-1", ""}, kViewStart));
  EXPECT_EQ(build(view_), (Lines{"a.1 draining", "a.2 active"}));
  EXPECT_FALSE(view_.apply({Kind::Read, Fate::Gone, "", "", "/other"}, kViewStart));
  EXPECT_TRUE(view_.apply({Kind::Read, Fate::Gone, "", "", "/web"}, kViewStart));
  EXPECT_EQ(build(view_), (Lines{"a.1 draining", "a.2 draining"}));
  (void)read(view_, app({}));
  EXPECT_EQ(view_.gone(), (Lines{"a.1", "a.2"}));
}

TEST_F(ViewTest, ShrinksNotWhileMarathonHasLostMesos) {
  (void)read(view_, with("TASK_RUNNING"));
  EXPECT_FALSE(view_.apply({Kind::LostMesos}, kViewStart));
  const auto refused = view_.replace({app({})}, kViewStart + 1s);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("2 of 2 tasks"), std::string::npos);
  EXPECT_EQ(build(view_, 1s), both_);
  // What an event explained may go.
  (void)view_.apply(fate(Fate::Gone), kViewStart + 1s);
  EXPECT_EQ(read(view_, app({task("a.2", "10.0.0.2", "TASK_RUNNING")}), 2s), Lines{"a.2 active"});
  EXPECT_FALSE(view_.replace({app({})}, kViewStart + 3s));
  EXPECT_TRUE(view_.replace({app({})}, kViewStart + 601s));  // not for ever
  (void)view_.replace({with("TASK_RUNNING")}, kViewStart + 602s);
  (void)view_.apply({Kind::FoundMesos}, kViewStart + 602s);
  EXPECT_TRUE(view_.replace({app({})}, kViewStart + 603s));
}

TEST_F(ViewTest, TrustsTheHealthOfWhatWasInUseBeforeARestart) {
  App checked = with("TASK_RUNNING");
  checked.has_health_checks = true;
  for (Task& one : checked.tasks) one.health_results = 1;
  const auto saved = [&] {
    View before(Rules{}, {});
    EXPECT_EQ(read(before, checked), both_);
    return before.outcome().services;
  }();
  for (Task& one : checked.tasks) one.health_results = 0;
  View fresh(Rules{}, {});
  EXPECT_EQ(read(fresh, checked), (Lines{"a.1 down", "a.2 down"}));
  View restarted(Rules{}, saved);
  EXPECT_EQ(read(restarted, app({})), Lines{});  // a standby that knew nothing
  EXPECT_EQ(restarted.missing(), 2U);
  EXPECT_EQ(read(restarted, checked), both_);
}

}  // namespace
}  // namespace lb::marathon
