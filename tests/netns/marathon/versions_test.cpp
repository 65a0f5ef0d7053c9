// Every version: its shape, its events, its ends.
#include "netns/marathon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

class Versions : public MarathonTest, public testing::WithParamInterface<const char*> {
 protected:
  [[nodiscard]] bool has_events() const { return std::string(GetParam()) != "0.8.2"; }
};

TEST_P(Versions, ReadsAppsAndFollowsTheirTasks) {
  FakeMarathon& marathon = add_node({.version = GetParam()});
  if (!has_events()) config_.interval = 200ms;
  marathon.add_app({.id = "/host", .ports = {10001, 10002}});
  marathon.add_app(
      {.id = "/grp/bridge", .ports = {10010}, .network = "bridge", .health_checks = 1});
  const auto first = marathon.launch("/host", "10.0.0.1", {31001, 31002});
  marathon.launch("/grp/bridge", "10.0.0.2", {31010}, true);
  const auto sick = marathon.launch("/grp/bridge", "10.0.0.3", {31010}, false);
  // 0.8 does not say which service port a bridged app has, unless Marathon chose it.
  start();
  ASSERT_TRUE(reaches({"10.0.0.1:31001 active", "10.0.0.1:31002 active", "10.0.0.2:31010 active",
                       "10.0.0.3:31010 down"}));
  if (has_events()) {
    ASSERT_TRUE(streams());
  }
  marathon.launch("/host", "10.0.0.4", {31005, 31006});
  ASSERT_TRUE(reaches({"10.0.0.1:31001 active", "10.0.0.4:31005 active", "10.0.0.1:31002 active",
                       "10.0.0.4:31006 active", "10.0.0.2:31010 active", "10.0.0.3:31010 down"}));
  marathon.set_health(sick, true);
  marathon.kill(first);
  ASSERT_TRUE(reaches({"10.0.0.4:31005 active", "10.0.0.4:31006 active", "10.0.0.2:31010 active",
                       "10.0.0.3:31010 active"}));
  marathon.remove_app("/grp/bridge");
  ASSERT_TRUE(reaches({"10.0.0.4:31005 active", "10.0.0.4:31006 active"}));
  EXPECT_TRUE(errors_.empty()) << errors_.front();
}

INSTANTIATE_TEST_SUITE_P(All, Versions,
                         testing::Values("0.8.2", "0.9.0", "0.10.0", "0.11.0", "0.15.0", "1.0.0",
                                         "1.1.0", "1.3.0", "1.3.7", "1.4.0", "1.5.0", "1.6.0",
                                         "1.7.0", "1.8.0", "1.9.0", "1.11.0"),
                         [](const auto& one) {
                           std::string name = one.param;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return "v" + name;
                         });

TEST_F(MarathonTest, ReadsContainerNetworksWhereverTheirPortsAre) {
  for (const char* version : {"1.3.0", "1.4.0", "1.5.0", "1.8.0", "1.11.0"}) {
    FakeMarathon marathon({.version = version});
    FakePort port(10020);
    port.container_port = 8080;
    port.host_port = false;
    marathon.add_app({.id = "/ip", .ports = {port}, .network = "container"});
    marathon.call(R"({"do":"launch","app":"/ip","host":"10.0.0.1","ports":[],"ip":"192.168.1.7"})");
    config_.access.endpoints = {marathon.url()};
    start();
    EXPECT_TRUE(reaches({"192.168.1.7:8080 active"})) << version;
    stop();
  }
}

TEST_F(MarathonTest, PollsWhereThereIsNoStreamAndSaysSo) {
  add_node({.version = "0.8.2"});
  config_.interval = 200ms;
  start();
  ASSERT_TRUE(until([&] { return nodes_[0]->count("/v2/apps") >= 5; }));
  EXPECT_NE(source_->status().position.find(", polling ("), std::string::npos)
      << source_->status().position;
  EXPECT_EQ(nodes_[0]->count("/v2/events"), 1);  // again in ten minutes
}

TEST_F(MarathonTest, DrainsWhatMarathonIsKilling) {
  FakeMarathon& marathon = add_node();
  marathon.add_app({.id = "/web", .ports = {10001}});
  const auto task = marathon.launch("/web", "10.0.0.1", {31001});
  marathon.launch("/web", "10.0.0.2", {31001});
  start();
  ASSERT_TRUE(reaches({"10.0.0.1:31001 active", "10.0.0.2:31001 active"}));
  ASSERT_TRUE(streams());
  marathon.kill(task, 1500ms);
  ASSERT_TRUE(reaches({"10.0.0.1:31001 draining", "10.0.0.2:31001 active"}));
  ASSERT_TRUE(reaches({"10.0.0.2:31001 active"}));
  ASSERT_TRUE(last_);
  EXPECT_EQ(last_->gone, Lines{task});
}

}  // namespace
}  // namespace lb::test
