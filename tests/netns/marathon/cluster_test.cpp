// Several Marathons: leaders come and go, standbys proxy or redirect, and forget what they only remembered.
#include "netns/marathon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

class Cluster : public MarathonTest, public testing::WithParamInterface<const char*> {
 protected:
  void begin(const std::string& version) {
    for (int i = 0; i < 3; ++i) add_node({.version = version, .heartbeat = 500ms});
    node(1).add_app({.id = "/web", .ports = {10001}, .health_checks = 1});
    for (int i = 1; i <= 3; ++i)
      tasks_.push_back(node(1).launch("/web", "10.0.0." + std::to_string(i), {31001}, true));
    start();
    ASSERT_TRUE(until([&] { return active() == 3; }));
  }
  FakeMarathon& node(std::size_t i) { return *nodes_.at(i - 1); }
  std::vector<std::string> tasks_;
};

TEST_P(Cluster, KeepsTheSetWhenAnotherOneLeadsWithoutAnyHealthResult) {
  begin(GetParam());
  ASSERT_TRUE(streams());
  forget_lowest();
  for (const unsigned leader : {2U, 3U, 1U}) {
    const int before = node(leader).count("/v2/apps");
    node(1).elect(leader);
    ASSERT_TRUE(until([&] { return node(leader).count("/v2/apps") > before; }));
    ASSERT_TRUE(until([&] { return node(leader).open_streams() > 0; }, 30s));
    watch_for(300ms);
    EXPECT_EQ(lowest(), 3U);
  }
  // The new leader's events count.
  node(1).kill(tasks_[0]);
  EXPECT_TRUE(reaches({"10.0.0.2:31001 active", "10.0.0.3:31001 active"}, 3s));
}

INSTANTIATE_TEST_SUITE_P(Versions, Cluster, testing::Values("1.4.0", "1.6.0", "1.8.0"),
                         [](const auto& one) {
                           std::string name = one.param;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return "v" + name;
                         });

TEST_F(Cluster, LosesNothingWhileNobodyLeads) {
  config_.interval = 300ms;
  begin("1.8.0");
  forget_lowest();
  node(1).resign(3s);
  watch_for(2s);
  EXPECT_EQ(active(), 3U);
  node(1).wait_for_leader();
  ASSERT_TRUE(until([&] { return source_->status().connected; }, 40s));
  watch_for(500ms);
  EXPECT_EQ(lowest(), 3U);
}

// 0.8 answers without a leader, too: with what it has, which is nothing.
TEST_F(Cluster, LosesNothingToAStandbyOf08ThatKnowsNoLeader) {
  config_.interval = 300ms;
  begin("0.8.2");
  forget_lowest();
  node(1).resign(1500ms);
  watch_for(1200ms);
  node(1).wait_for_leader();
  ASSERT_TRUE(until([&] { return source_->status().connected && !guard_.held(); }, 40s));
  EXPECT_EQ(lowest(), 3U);
}

TEST_F(Cluster, RestartsDuringALeaderChangeWithTheSetOfBefore) {
  begin("1.8.0");
  const Snapshot saved = *last_;
  stop();
  node(1).elect(2);
  start(saved);
  forget_lowest();
  const int snapshots = snapshots_;
  ASSERT_TRUE(until([&] { return snapshots_ > snapshots; }));
  watch_for(300ms);
  EXPECT_EQ(lowest(), 3U);
}

TEST_F(Cluster, SurvivesTheDeathOfTheLeader) {
  begin("1.8.0");
  ASSERT_TRUE(streams());
  forget_lowest();
  nodes_[0].reset();
  node(2).wait_for_leader();
  node(2).kill(tasks_[1]);
  EXPECT_TRUE(until([&] { return active() == 2; }, 30s));
  EXPECT_EQ(lowest(), 2U);
}

// Asked at a standby that redirects to a leader whom the configuration does not name.
TEST_F(Cluster, FollowsARedirectToTheLeaderThatAStandbyNames) {
  for (int i = 0; i < 2; ++i) add_node({.version = "1.8.0", .basic = "lbd:secret"});
  config_.access.endpoints = {node(2).url()};
  config_.access.username = "lbd";
  config_.access.password_file = write("password", "secret\n");
  start();
  ASSERT_TRUE(streams());
  EXPECT_EQ(node(1).open_streams(), 1);
  EXPECT_EQ(node(2).open_streams(), 0);
  EXPECT_GT(node(2).count("/v2/leader"), 0);
}

TEST_F(Cluster, FollowsNoRedirectToAStranger) {
  FakeMarathon stranger({.version = "1.8.0"});
  add_node({.version = "1.8.0", .basic = "lbd:secret"});
  config_.access.username = "lbd";
  config_.access.password_file = write("password", "secret\n");
  node(1).call(R"({"do":"fault","kind":"redirect","path":"/v2/events","location":")" +
               stranger.url() + R"(/v2/events"})");
  start();
  ASSERT_TRUE(until([&] {
    return source_->status().position.find("neither a configured endpoint nor the leader") !=
           std::string::npos;
  })) << source_->status().position;
  EXPECT_EQ(stranger.count("/v2/events"), 0);
  EXPECT_TRUE(source_->status().connected);  // polling goes on
}

TEST_F(Cluster, EndsARedirectInACircle) {
  add_node({.version = "1.8.0"});
  node(1).fault("redirect_loop", -1, "/v2/events");
  start();
  ASSERT_TRUE(until([&] {
    return source_->status().position.find("redirected more than 3 times") != std::string::npos;
  }));
  EXPECT_LE(node(1).count("/v2/events"), 8);
}

}  // namespace
}  // namespace lb::test
