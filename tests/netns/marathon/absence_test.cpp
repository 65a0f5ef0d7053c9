// What a valid answer lacks: when that is believed, and when not.
#include <fmt/format.h>

#include "netns/marathon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class Absences : public MarathonTest {
 protected:
  // `apps` apps with a task each, at so many Marathons.
  void begin(int apps, int nodes = 2, const std::string& version = "1.8.0") {
    for (int i = 0; i < nodes; ++i) add_node({.version = version});
    for (int i = 1; i <= apps; ++i) {
      node(1).add_app({.id = fmt::format("/app{}", i), .ports = {10000 + i}});
      tasks_.push_back(
          node(1).launch(fmt::format("/app{}", i), fmt::format("10.0.0.{}", i), {31001}));
    }
    config_.interval = 400ms;
    start();
    ASSERT_TRUE(until([&] { return active() == static_cast<std::size_t>(apps); }));
    forget_lowest();
  }
  FakeMarathon& node(std::size_t i) { return *nodes_.at(i - 1); }
  void fault_everywhere(const std::string& kind) {
    for (auto& one : nodes_) one->fault(kind);
  }
  // Readings that begin from now on.
  void watch_readings(int count) {
    const auto asked = [&] {
      int sum = 0;
      for (auto& one : nodes_) sum += one->count("/v2/apps");
      return sum;
    };
    const int before = asked();
    ASSERT_TRUE(until([&] { return asked() >= before + count; }));
  }
  std::vector<std::string> tasks_;
};

struct ShortCase {
  const char* name;
  int apps;
  const char* command;
};
void PrintTo(const ShortCase& one, std::ostream* out) { *out << one.name; }
class ShortAnswer : public Absences, public testing::WithParamInterface<ShortCase> {};

TEST_P(ShortAnswer, OfOneReadingTakesNothing) {
  ASSERT_NO_FATAL_FAILURE(begin(GetParam().apps));
  // Of one Marathon: the next reading is another one's.
  node(2).call(GetParam().command);
  const int before = node(2).count("/v2/apps");
  ASSERT_TRUE(until([&] { return node(2).count("/v2/apps") >= before + 2; }));
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  EXPECT_EQ(lowest(), static_cast<std::size_t>(GetParam().apps));
  ASSERT_TRUE(until([&] { return !guard_.held(); }));
}

INSTANTIATE_TEST_SUITE_P(
    All, ShortAnswer,
    testing::Values(
        ShortCase{"one_of_five", 5, R"({"do":"fault","kind":"short","app":"/app3","times":1})"},
        ShortCase{"all_of_five", 5, R"({"do":"fault","kind":"short","times":1})"},
        ShortCase{"no_tasks_of_five", 5, R"({"do":"fault","kind":"taskless","times":1})"},
        ShortCase{"one_without_tasks", 1, R"({"do":"fault","kind":"taskless","times":1})"},
        ShortCase{"empty_of_one", 1, R"({"do":"fault","kind":"empty","times":1})"},
        ShortCase{"empty_of_five", 5, R"({"do":"fault","kind":"empty","times":1})"}),
    [](const auto& one) { return std::string(one.param.name); });

// The list lacks it for good, and each app answers to its name: Marathon's index is broken.
TEST_F(Absences, OfAnAppThatAnswersToItsNameIsNeverBelieved) {
  guard_options_.confirm = 1s;
  ASSERT_NO_FATAL_FAILURE(begin(5));
  for (auto& one : nodes_) one->call(R"({"do":"fault","kind":"short","app":"/app3"})");
  ASSERT_NO_FATAL_FAILURE(watch_readings(12));
  EXPECT_EQ(lowest(), 5U);
  node(1).launch("/app3", "10.0.0.9", {31001});
  EXPECT_TRUE(until([&] { return active() == 6; })) << "and it is followed";
}

// The app is there and has no task any more; no event tells why.
TEST_F(Absences, OfTheLastTaskOfAnAppIsBelievedAtTheSecondReading) {
  ASSERT_NO_FATAL_FAILURE(begin(2, 2, "0.8.2"));
  node(1).kill(tasks_[1], {}, true);
  const auto killed = steady_clock::now();
  ASSERT_TRUE(until([&] { return active() == 1; }));
  EXPECT_GE(steady_clock::now() - killed, 1s);
  EXPECT_LE(steady_clock::now() - killed, 8s);
}

TEST_F(Absences, OfEverythingIsHeldUntilItIsBack) {
  guard_options_.confirm = 500ms;
  ASSERT_NO_FATAL_FAILURE(begin(3));
  for (const char* kind : {"empty", "wiped"}) {
    fault_everywhere(kind);
    ASSERT_TRUE(until([&] { return guard_.held().has_value(); })) << kind;
    EXPECT_TRUE(guard_.held()->total);
    ASSERT_NO_FATAL_FAILURE(watch_readings(10));
    EXPECT_EQ(lowest(), 3U) << kind;
    fault_everywhere("none");
    ASSERT_TRUE(until([&] { return !guard_.held(); })) << kind;
    EXPECT_EQ(lowest(), 3U) << kind;
  }
}

TEST_F(Absences, OfEverythingIsBelievedInTheEnd) {
  guard_options_ = {.confirm = 500ms, .total = 3s};
  ASSERT_NO_FATAL_FAILURE(begin(3));
  fault_everywhere("wiped");
  ASSERT_TRUE(until([&] { return guard_.held().has_value(); }));
  const auto begin = steady_clock::now();
  ASSERT_TRUE(until([&] { return active() == 0; }));
  EXPECT_GE(steady_clock::now() - begin, 2500ms);
}

// No event tells of it: 0.8 has none.
TEST_F(Absences, OfADestroyedOnlyAppIsBelievedAtOnce) {
  ASSERT_NO_FATAL_FAILURE(begin(1, 1, "0.8.2"));
  node(1).remove_app("/app1");
  EXPECT_TRUE(until([&] { return active() == 0; }, 3s));
  EXPECT_FALSE(guard_.held());
}

TEST_F(Absences, OfDestroyedAppsIsBelievedAtOnceWhileOthersAreThere) {
  ASSERT_NO_FATAL_FAILURE(begin(5, 1, "0.8.2"));
  for (const char* id : {"/app1", "/app2", "/app4", "/app5"}) node(1).remove_app(id);
  EXPECT_TRUE(until([&] { return active() == 1; }, 3s));
}

// --- two apps and one port

class Colours : public Absences, public testing::WithParamInterface<const char*> {
 protected:
  void begin() {
    for (int i = 0; i < 2; ++i) add_node({.version = GetParam()});
    colour("/blue", true);
    colour("/green", false);
    for (int i = 1; i <= 2; ++i) {
      node(1).launch("/blue", fmt::format("10.0.1.{}", i), {31001});
      node(1).launch("/green", fmt::format("10.0.2.{}", i), {31001});
    }
    config_.interval = 400ms;
    start();
    ASSERT_TRUE(until([&] { return active() == 2; }));
    ASSERT_EQ(origins_[10001], std::vector<std::string>{"/blue"});
    forget_lowest();
  }
  void colour(const std::string& id, bool on) {
    FakeApp app{.id = id, .ports = {10001}};
    if (!on) app.labels.clear();
    node(1).add_app(app);
  }
  bool switches_to(const std::string& origin) {
    return until([&] { return origins_[10001].back() == origin; }, 4s);
  }
  void one_switch() {
    EXPECT_FALSE(mixed_);
    EXPECT_EQ(origins_[10001], (std::vector<std::string>{"/blue", "/green"}));
  }
};

TEST_P(Colours, SwitchOnceWhenTheLabelMoves) {
  ASSERT_NO_FATAL_FAILURE(begin());
  colour("/green", true);
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  EXPECT_EQ(origins_[10001].size(), 1U) << "the one that has it keeps it";
  colour("/blue", false);
  EXPECT_TRUE(switches_to("/green"));
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  one_switch();
  EXPECT_EQ(lowest(), 2U);
}

TEST_P(Colours, SwitchOnceWhenTheLabelMovesTheOtherWayRound) {
  ASSERT_NO_FATAL_FAILURE(begin());
  colour("/blue", false);
  colour("/green", true);
  EXPECT_TRUE(switches_to("/green"));
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  EXPECT_FALSE(mixed_);
}

TEST_P(Colours, SwitchOnceWhenTheFirstIsDestroyed) {
  ASSERT_NO_FATAL_FAILURE(begin());
  colour("/green", true);
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  node(1).remove_app("/blue");
  EXPECT_TRUE(switches_to("/green"));
  ASSERT_NO_FATAL_FAILURE(watch_readings(3));
  one_switch();
  EXPECT_GE(lowest(), 1U) << "the events of its tasks come one after the other";
}

TEST_P(Colours, ASmallerIdTakesNothingFromARunningApp) {
  ASSERT_NO_FATAL_FAILURE(begin());
  node(1).add_app({.id = "/a", .ports = {10001}});
  node(1).launch("/a", "10.0.3.1", {31001});
  ASSERT_NO_FATAL_FAILURE(watch_readings(4));
  EXPECT_EQ(origins_[10001], std::vector<std::string>{"/blue"});
  EXPECT_EQ(lowest(), 2U);
  EXPECT_FALSE(last_->warnings.empty()) << "it is said";
}

INSTANTIATE_TEST_SUITE_P(Versions, Colours, testing::Values("0.8.2", "1.8.0"), [](const auto& one) {
  return std::string(one.param) == "0.8.2" ? "polling" : "events";
});

// --- the event stream

TEST_F(Absences, OfAStreamAtOneEndpointIsThatEndpointsAlone) {
  for (int i = 0; i < 2; ++i) add_node({.version = "1.8.0"});
  node(1).add_app({.id = "/app1", .ports = {10001}});
  node(2).fault("404", -1, "/v2/events");
  // The wrong one is asked first nearly always.
  config_.access.endpoints.assign(9, node(2).url());
  config_.access.endpoints.push_back(node(1).url());
  start();
  EXPECT_TRUE(streams());
  EXPECT_EQ(node(1).open_streams(), 1);
}

}  // namespace
}  // namespace lb::test
