// Marathon's shapes, one by one, and texts that are no answer.
#include <gmock/gmock.h>

#include <cerrno>
#include <string>

#include "rules_fixture.h"

namespace lb::marathon {
namespace {

using testing::ElementsAre;
using testing::Eq;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;
using testing::SizeIs;

App app_of(const std::string& members) {
  auto apps = apps_of(R"({"id":"/a",)" + members + "}");
  EXPECT_EQ(apps.size(), 1U);
  return apps.empty() ? App{} : apps[0];
}

std::string error_of(std::string_view body) {
  const auto apps = parse_apps(body);
  return apps ? "none" : apps.error().message();
}

struct NetworkCase {
  const char* name;
  const char* members;
  Network network;
};

class NetworkOf : public testing::TestWithParam<NetworkCase> {};

TEST_P(NetworkOf, IsFoundInEveryVersion) {
  EXPECT_EQ(app_of(GetParam().members).network, GetParam().network);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, NetworkOf,
    testing::Values(
        NetworkCase{"none", R"("x":1)", Network::Host},
        NetworkCase{"host", R"("networks":[{"mode":"host"}])", Network::Host},
        NetworkCase{"bridge", R"("networks":[{"mode":"container/bridge"}])", Network::Bridge},
        NetworkCase{"container", R"("networks":[{"mode":"container","name":"x"}])",
                    Network::Container},
        NetworkCase{"no_mode", R"("networks":[{"name":"x"}])", Network::Container},
        NetworkCase{"the_first", R"("networks":[{"mode":"host"},{"mode":"container"}])",
                    Network::Host},
        NetworkCase{"empty_list", R"("networks":[],"container":{"docker":{"network":"BRIDGE"}})",
                    Network::Bridge},
        NetworkCase{"docker_bridge", R"("container":{"docker":{"network":"BRIDGE"}})",
                    Network::Bridge},
        NetworkCase{"docker_user", R"("container":{"docker":{"network":"USER"}})",
                    Network::Container},
        NetworkCase{"docker_host", R"("container":{"docker":{"network":"HOST"}})", Network::Host},
        NetworkCase{"docker_null", R"("container":{"docker":{"network":null}})", Network::Host},
        NetworkCase{"ip_address", R"("ipAddress":{"groups":[]})", Network::Container},
        NetworkCase{"ip_address_null", R"("ipAddress":null)", Network::Host},
        NetworkCase{"networks_before_docker",
                    R"("container":{"docker":{"network":"USER"}},"networks":[{"mode":"host"}])",
                    Network::Host},
        NetworkCase{"docker_before_ip_address",
                    R"("ipAddress":{},"container":{"docker":{"network":"BRIDGE"}})",
                    Network::Bridge}),
    [](const auto& c) { return std::string(c.param.name); });

std::vector<int> service_ports(const App& app) {
  std::vector<int> out;
  for (const AppPort& port : app.ports) out.push_back(port.service_port.value_or(0));
  return out;
}

TEST(PortsOf, MappingsGoBeforeTheOtherPlaces) {
  const std::string more = R"("ports":[0],"portDefinitions":[{"port":3}],)";
  EXPECT_THAT(
      service_ports(app_of(
          more +
          R"("networks":[{"mode":"container/bridge"}],"container":{"portMappings":[{"servicePort":1}],"docker":{"portMappings":[{"servicePort":2}]}})")),
      ElementsAre(1));
  EXPECT_THAT(
      service_ports(app_of(
          more +
          R"("container":{"docker":{"network":"BRIDGE","portMappings":[{"servicePort":2}]}})")),
      ElementsAre(2))
      << "0.8 leaves ports at [0] beside static service ports";
  EXPECT_THAT(service_ports(app_of(R"("ports":[9],"portDefinitions":[{"port":3}])")),
              ElementsAre(3));
  EXPECT_THAT(service_ports(app_of(R"("ports":[9,0,10],"portDefinitions":[])")),
              ElementsAre(9, 0, 10));
  EXPECT_THAT(
      service_ports(app_of(R"("ports":[9],"container":{"portMappings":[{"servicePort":1}]})")),
      ElementsAre(9))
      << "mappings mean nothing on the host's network";
}

TEST(PortsOf, ContainerNetworksHaveNoneWithoutMappings) {
  EXPECT_THAT(app_of(R"("ipAddress":{},"ports":[1],"portDefinitions":[{"port":2}])").ports,
              IsEmpty());
  EXPECT_THAT(service_ports(app_of(R"("container":{"docker":{"network":"BRIDGE"}},"ports":[1])")),
              ElementsAre(1));
}

TEST(PortsOf, HostPortsAreTakenByMappingsThatHaveOne) {
  const char* mappings =
      R"("portMappings":[{"containerPort":1},{"containerPort":2,"hostPort":0},{"containerPort":0,"hostPort":null},{"hostPort":5}])";
  const App container = app_of(std::string(R"("networks":[{}],"container":{)") + mappings + "}");
  ASSERT_THAT(container.ports, SizeIs(4));
  EXPECT_FALSE(container.ports[0].has_host_port);
  EXPECT_TRUE(container.ports[1].has_host_port);
  EXPECT_FALSE(container.ports[2].has_host_port);
  EXPECT_TRUE(container.ports[3].has_host_port);
  EXPECT_THAT(container.ports[0].container_port, Optional(Eq(1)));
  EXPECT_EQ(container.ports[2].container_port, std::nullopt);
  const App bridge =
      app_of(std::string(R"("container":{"docker":{"network":"BRIDGE",)") + mappings + "}}");
  ASSERT_THAT(bridge.ports, SizeIs(4));
  for (const AppPort& port : bridge.ports) EXPECT_TRUE(port.has_host_port);
}

TEST(PortsOf, OnlyThePlaceThatCountsIsComplainedAbout) {
  EXPECT_THAT(app_of(R"("ports":[-1],"portDefinitions":[{"port":3}])").problems, IsEmpty());
  EXPECT_THAT(app_of(R"("ports":[1],"portDefinitions":[{"port":true}])").problems,
              ElementsAre("portDefinitions[0].port is true, which is no port (1 to 65535): it is "
                          "left out"));
}

TEST(AppOf, KnowsChecksDeploymentsAndLabels) {
  const App app = app_of(
      R"("healthChecks":[{}],"readinessChecks":[{}],"deployments":[{"id":"x"}],"requirePorts":true,"labels":{"a":"b","n":5,"t":true,"z":null,"o":{},"\u0061\n":"\ud83d\ude00"})");
  EXPECT_TRUE(app.has_health_checks && app.has_readiness_checks && app.deploying &&
              app.require_ports);
  EXPECT_THAT(app.labels, ElementsAre(Pair("a", "b"), Pair("a\n", "\xf0\x9f\x98\x80"),
                                      Pair("n", "5"), Pair("t", "true")));
  const App none = app_of(
      R"("healthChecks":[],"readinessChecks":null,"deployments":[null],"requirePorts":null)");
  EXPECT_FALSE(none.has_health_checks || none.has_readiness_checks || none.deploying ||
               none.require_ports);
}

TEST(TaskOf, HasEverythingInAnyOrder) {
  const App app = app_of(
      R"("readinessCheckResults":[{"taskId":"t","ready":false}],"tasks":[{"healthCheckResults":[null,{"alive":true},{"alive":true}],"ports":[1,null,70000,0,"x"],"ipAddresses":[{"protocol":"IPv4","ipAddress":"10.1.1.1"},{"ipAddress":null},null],"startedAt":"x","state":"TASK_RUNNING","host":"h","id":"t"}])");
  ASSERT_THAT(app.tasks, SizeIs(1));
  const Task& task = app.tasks[0];
  EXPECT_EQ(task.id + " " + task.host + " " + task.state, "t h TASK_RUNNING");
  EXPECT_THAT(task.ports,
              ElementsAre(Optional(Eq(1)), std::nullopt, std::nullopt, std::nullopt, std::nullopt));
  EXPECT_THAT(task.addresses, ElementsAre("10.1.1.1"));
  EXPECT_TRUE(task.started && task.all_alive && task.not_ready);
  EXPECT_EQ(task.health_results, 2U);
  EXPECT_THAT(
      app.problems,
      ElementsAre("task t: ports[2] is 70000, which is no port (1 to 65535): it is left out",
                  "task t: ports[4] is \"x\", which is no port (1 to 65535): it is left "
                  "out"));
}

TEST(TaskOf, WithoutIdIsLeftOutAndFloodsOfProblemsEnd) {
  EXPECT_THAT(app_of(R"("tasks":[{"host":"h"},null,7,[],{"id":7}])").problems,
              ElementsAre("a task without id is left out", "a task without id is left out"));
  std::string ports = "-1";
  for (int i = 0; i < 10'000; ++i) ports += ",-1";
  EXPECT_THAT(app_of(R"("ports":[)" + ports + "]").problems, SizeIs(21));
}

TEST(Answer, OddElementsCostOnlyThemselves) {
  const auto apps = apps_of(
      R"(null,7,"x",[],{},{"id":null},{"id":""},{"id":"/a"},{"id":"/b","tasks":{"id":"t"},"ports":"x","labels":[1],"container":7,"networks":{},"portDefinitions":{},"healthChecks":"y"},{"id":"/c","id":"/d","ports":[1],"ports":[2],"tasks":[{"id":"x"}],"tasks":[{"id":"y"}]})");
  ASSERT_THAT(apps, SizeIs(3));
  EXPECT_EQ(apps[0].id, "/a");
  EXPECT_THAT(apps[1].tasks, IsEmpty());
  EXPECT_EQ(apps[2].id, "/d") << "the last of equal members counts";
  EXPECT_THAT(service_ports(apps[2]), ElementsAre(2));
  EXPECT_EQ(apps[2].tasks.at(0).id, "y");
}

TEST(Answer, IsRefusedWhenItIsNoListOfApps) {
  EXPECT_EQ(error_of(""), "'' is no list of apps: it is not a JSON object");
  EXPECT_EQ(error_of("<html>\r\n502"),
            "'<html>\\x0d\\x0a502' is no list of apps: it is not a JSON object");
  EXPECT_EQ(error_of("[]"), "'[]' is no list of apps: it is not a JSON object");
  EXPECT_EQ(error_of("{}"), "the answer has no array \"apps\"");
  EXPECT_EQ(error_of(R"({"apps":null})"), "the answer has no array \"apps\"");
  EXPECT_EQ(error_of(R"({"apps":{}})"), "the answer has no array \"apps\"");
  EXPECT_EQ(error_of(R"({"message":"There is no leader"})"),
            "the answer is no list of apps, but says 'There is no leader'");
  EXPECT_EQ(error_of(R"({"apps":[]})"), "none");
  EXPECT_EQ(error_of("\r\n {\t\"apps\" : [ ] }\n"), "none");
}

TEST(Answer, IsRefusedWhereverItIsCutOff) {
  for (const char* name : {"apps_basic_v0.8.2.json", "task_states_v1.8.json"}) {
    const std::string whole = fixture(name);
    const auto end = whole.find_last_of('}');
    for (std::size_t length = 0; length <= end; length += length < 100 ? 1 : 7)
      EXPECT_FALSE(parse_apps(std::string_view(whole).substr(0, length))) << name << " " << length;
    EXPECT_TRUE(parse_apps(std::string_view(whole).substr(0, end + 1)));
    EXPECT_FALSE(parse_apps(whole + "x"));
  }
  EXPECT_EQ(error_of(R"({"apps":[{"id":"/a"},)"),
            "the list of apps is broken or cut off: 21 of 21 bytes are JSON");
}

TEST(Answer, MayBeNestedAsDeeplyAsItLikes) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(parse_apps(R"({"apps":[{"id":"/a","x":)" + deep));
  EXPECT_FALSE(parse_apps(deep));
  const std::string closed = deep + std::string(1'000'000, ']');
  const auto apps = apps_of(R"({"x":)" + closed + R"(,"id":"/a","labels":)" + closed + "}");
  EXPECT_THAT(apps, SizeIs(1));
}

TEST(Answer, MayHoldBytesThatAreNoText) {
  const auto apps = apps_of(
      "{\"id\":\"/"
      "\xff\xc0\x80x\",\"env\":\"\xfe\",\"tasks\":[{\"id\":\"\xed\xa0\x80\\ud800\\u0041\"}]}");
  ASSERT_THAT(apps, SizeIs(1));
  EXPECT_EQ(apps[0].id, "/\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx");
  EXPECT_EQ(apps[0].tasks.at(0).id,
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
            "A");
}

TEST(Answer, IsHeldToTheGrammar) {
  for (const char* bad : {R"({"apps":[],})",
                          R"({"apps":[,]})",
                          R"({"apps":[1,]})",
                          R"({"apps" []})",
                          R"({apps:[]})",
                          R"({"apps":[NaN]})",
                          R"({"apps":[01]})",
                          R"({"apps":[1.]})",
                          R"({"apps":[-]})",
                          R"({"apps":[+1]})",
                          R"({"apps":[1e]})",
                          R"({"apps":[tru]})",
                          R"({"apps":[truex]})",
                          R"({"apps":["\x"]})",
                          R"({"apps":["\u12g4"]})",
                          "{\"apps\":[\"a\nb\"]}",
                          R"({"apps":[}])",
                          R"({"apps":[{"a":1]}])",
                          R"({"apps":[]}{})",
                          R"({"apps":[{"id":"/a" "x":1}]})",
                          R"({"apps":[{"a":{"b":[{}}]}]})",
                          "{\"apps\":[]}\xef"})
    EXPECT_FALSE(parse_apps(bad)) << bad;
  for (const char* good : {R"({"apps":[-0,0.5e-7,1E+3,1e999,-1e-999,"\"\\\/\b\f\n\r\t\u00e9"]})",
                           R"({"apps":[{"a":{"b":[{},[],[[1,{"c":[]}]]]}}]})"})
    EXPECT_TRUE(parse_apps(good)) << good;
}

// Junk that is small in the answer and large in memory: 128 MiB of these would take gigabytes.
TEST(Answer, KeepsNoMoreThanThreeTimesItsSize) {
  const auto filled = [](std::string_view begin, std::string_view item, std::string_view end) {
    std::string out(begin);
    while (out.size() < std::size_t{4} << 20) out += item;
    return out += end;
  };
  for (const std::string& body :
       {filled(R"({"apps":[)", R"({"id":"a"},)", R"({"id":"a"}]})"),
        filled(R"({"apps":[{"id":"a","tasks":[)", R"({"id":"t"},)", R"({"id":"t"}]}]})"),
        filled(R"({"apps":[{"id":"a","ports":[)", "0,", "0]}]}")}) {
    const auto apps = parse_apps(body);
    ASSERT_FALSE(apps);
    EXPECT_EQ(apps.error().code.value(), EMSGSIZE) << apps.error().message();
  }
  // What an app usually has is more text than memory.
  EXPECT_TRUE(parse_apps(filled(
      R"({"apps":[)",
      R"({"id":"/a","cmd":"exec java -Xmx1g -jar /srv/app/app.jar --port $PORT0 --config )"
      R"(/srv/app/config.yml --log /var/log/app --more-of-this-and-more-of-this-and-more-of",)"
      R"("env":{"A":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",)"
      R"("C":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},)"
      R"("tasks":[{"id":"a.1","host":"h1","ports":[31000]}]},)",
      R"({"id":"/b"}]})")));
}

TEST(ParseApp, ReadsTheOneThatWasAskedFor) {
  const auto app = parse_app(
      R"({"app":{"id":"/web","labels":{"a":"b"},"ports":[10000],"tasks":[{"id":"t1","host":"h","ports":[1]}]}})");
  ASSERT_TRUE(app) << app.error().message();
  EXPECT_EQ(app->id, "/web");
  EXPECT_EQ(app->tasks.size(), 1U);
  for (const char* bad : {R"({"apps":[]})", R"({"message":"App '/web' does not exist"})", "{}", "",
                          R"({"app":{"id":"/web"})", R"({"app":[]})", "<html>"})
    EXPECT_FALSE(parse_app(bad)) << bad;
}

}  // namespace
}  // namespace lb::marathon
