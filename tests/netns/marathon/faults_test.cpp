// Everything that can be wrong with an answer, for a while. Nothing may be lost meanwhile, and afterwards
// all is well again.
#include "netns/marathon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

struct FaultCase {
  const char* kind;
  const char* says;  // part of the error; "": none
};
void PrintTo(const FaultCase& one, std::ostream* out) { *out << one.kind; }

class Faults : public MarathonTest, public testing::WithParamInterface<FaultCase> {};

TEST_P(Faults, LoseNothing) {
  FakeMarathon& marathon = add_node();
  config_.interval = 200ms;
  marathon.add_app({.id = "/web", .ports = {10001}});
  for (int i = 1; i <= 4; ++i) marathon.launch("/web", "10.0.0." + std::to_string(i), {31001});
  start();
  ASSERT_TRUE(until([&] { return active() == 4; }));
  const int before = marathon.count("/v2/apps");
  marathon.fault(GetParam().kind);
  forget_lowest();
  // Until it has been asked often enough, or hangs for good.
  (void)until([&] { return marathon.count("/v2/apps") >= before + 4; }, 3s);
  watch_for(200ms);
  EXPECT_GT(marathon.count("/v2/apps"), before);
  EXPECT_EQ(lowest(), 4U);
  EXPECT_EQ(active(), 4U);
  const std::string says = GetParam().says;
  if (!says.empty()) {
    ASSERT_TRUE(until([&] { return !errors_.empty(); })) << "no error was told";
    EXPECT_NE(errors_[0].find(says), std::string::npos) << errors_[0];
    EXPECT_NE(errors_[0].find(marathon.url()), std::string::npos) << errors_[0];
    EXPECT_EQ(errors_.size(), 1U) << errors_.back();
    EXPECT_FALSE(source_->status().connected);
    EXPECT_FALSE(source_->status().error.empty());
  } else {
    EXPECT_TRUE(errors_.empty()) << errors_[0];
  }
  marathon.fault("none");
  marathon.launch("/web", "10.0.0.5", {31001});
  EXPECT_TRUE(until([&] { return active() == 5; }, 30s));
  EXPECT_TRUE(source_->status().connected);
  EXPECT_EQ(source_->status().error, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, Faults,
    testing::Values(
        FaultCase{"slow", ""}, FaultCase{"drip", ""},
        FaultCase{"500", "status 500 (Error 500 Internal Server Error)"},
        FaultCase{"503", "status 503"},
        FaultCase{"json_error_200", "Futures timed out after [10 seconds]"},
        FaultCase{"json_error_502", "status 502 (Could not determine the current leader)"},
        FaultCase{"bad_gateway", "status 502 (Error 502 Connection to leader refused.)"},
        FaultCase{"unauthorized", "status 401"}, FaultCase{"truncated", "bytes remaining to read"},
        FaultCase{"truncated_chunked", "outstanding read data remaining"}, FaultCase{"hang", ""},
        FaultCase{"reset", "reset"}, FaultCase{"garbage", "no list of apps"},
        FaultCase{"html", "no list of apps"}, FaultCase{"empty", ""},
        FaultCase{"empty_body", "no list of apps"}, FaultCase{"redirect_loop", "status 302"}),
    [](const auto& one) { return "f_" + std::string(one.param.kind); });

TEST_F(MarathonTest, AsksTheNextOneAtOnceWhenOneHangs) {
  for (int i = 0; i < 3; ++i) add_node();
  nodes_[0]->add_app({.id = "/web", .ports = {10001}});
  config_.interval = 300ms;
  start();
  ASSERT_TRUE(until([&] { return snapshots_ > 0; }));
  nodes_[1]->fault("hang");
  ASSERT_TRUE(until([&] { return nodes_[1]->count("/v2/apps") > 0; }, 60s));
  nodes_[0]->launch("/web", "10.0.0.1", {31001}, std::nullopt, true);  // no event tells of it
  // Those 5 s, not the 20 s that the only one would be given.
  EXPECT_TRUE(reaches({"10.0.0.1:31001 active"}, 9s));
  EXPECT_TRUE(errors_.empty());
}

TEST_F(MarathonTest, GoesOnWithOneOfThree) {
  for (int i = 0; i < 3; ++i) add_node();
  nodes_[0]->add_app({.id = "/web", .ports = {10001}});
  config_.interval = 200ms;
  start();
  ASSERT_TRUE(until([&] { return snapshots_ > 0; }));
  nodes_[1].reset();
  nodes_[2]->fault("500");
  ASSERT_TRUE(until([&] {
    const std::string at = source_->status().position;
    return at.find("; ") != std::string::npos && at.find("; ") != at.rfind("; ");
  })) << source_->status().position;
  nodes_[0]->launch("/web", "10.0.0.1", {31001}, std::nullopt, true);
  EXPECT_TRUE(reaches({"10.0.0.1:31001 active"}));
  EXPECT_TRUE(errors_.empty());
  EXPECT_TRUE(source_->status().connected);
}

TEST_F(MarathonTest, TellsOneErrorPerOutageAndDeliversAfterIt) {
  FakeMarathon& marathon = add_node();
  config_.interval = 200ms;
  marathon.add_app({.id = "/web", .ports = {10001}});
  start();
  ASSERT_TRUE(until([&] { return snapshots_ == 1; }));
  marathon.fault("500");
  ASSERT_TRUE(until([&] { return errors_.size() == 1; }));
  watch_for(1500ms);
  EXPECT_EQ(errors_.size(), 1U);
  marathon.fault("none");
  EXPECT_TRUE(until([&] { return snapshots_ == 2; }));  // nothing new but that it is back
}

// One of three Marathons has lost its memory, and nobody lost a connection.
TEST_F(MarathonTest, RepeatsAnEmptyAnswerElsewhere) {
  for (int i = 0; i < 3; ++i) add_node();
  nodes_[0]->add_app({.id = "/web", .ports = {10001}});
  for (int i = 1; i <= 5; ++i) nodes_[0]->launch("/web", "10.0.0." + std::to_string(i), {31001});
  config_.interval = 500ms;
  start();
  ASSERT_TRUE(until([&] { return active() == 5; }));
  nodes_[2]->fault("empty");
  forget_lowest();
  const int before = nodes_[2]->count("/v2/apps");
  ASSERT_TRUE(until([&] { return nodes_[2]->count("/v2/apps") >= before + 3; }, 40s));
  watch_for(2s);
  EXPECT_EQ(lowest(), 5U);
}

TEST_F(MarathonTest, BelievesALossWhenSeveralReadingsHaveIt) {
  FakeMarathon& marathon = add_node({.version = "1.4.0"});
  marathon.add_app({.id = "/web", .ports = {10001}});
  marathon.launch("/web", "10.0.0.9", {31001});
  std::vector<std::string> tasks;
  for (int i = 1; i <= 4; ++i)
    tasks.push_back(marathon.launch("/web", "10.0.0." + std::to_string(i), {31001}));
  config_.interval = 2s;
  start();
  ASSERT_TRUE(until([&] { return active() == 5; }));
  ASSERT_TRUE(streams());
  for (const std::string& task : tasks) marathon.kill(task, {}, true);  // events got lost
  ASSERT_TRUE(until([&] { return guard_.held().has_value(); }));
  const int before = marathon.count("/v2/apps");
  ASSERT_TRUE(until([&] { return active() == 1; }, 30s));
  EXPECT_GE(marathon.count("/v2/apps"), before + 4);
}

}  // namespace
}  // namespace lb::test
