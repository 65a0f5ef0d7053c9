// Marathon's answers of three versions, each with what must come of it.
#include <ostream>
#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "rules_fixture.h"

namespace lb::marathon {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using Addresses = std::set<std::string>;

Addresses addresses(const json& service, const char* list) {
  return service.contains(list) ? service[list].get<Addresses>() : Addresses{};
}

Addresses in(const Service& service, BackendState state, Reason reason) {
  Addresses out;
  for (const Backend& b : service.backends)
    if (b.state == state && b.reason == reason) out.insert(b.address.to_string());
  return out;
}

Outcome outcome_of(const std::string& name, const Rules& rules) {
  const auto apps = parse_apps(fixture(name + ".json"));
  EXPECT_TRUE(apps) << apps.error().message();
  Memory memory;
  return apps ? apply_rules(*apps, rules, memory, no_names) : Outcome{};
}

// With udp on, "udp,tcp" is two services.
std::map<ServiceKey, json> expected_services(const std::string& name, bool udp) {
  std::map<ServiceKey, json> out;
  const json expected = json::parse(fixture(name + ".expected.json"));
  for (const json& service : expected["services"]) {
    const auto protocols = service["protocol"].get<std::string>();
    const auto port = service["servicePort"].get<Port>();
    const auto address = IpAddress::v4(0x7f000001);
    if (protocols.find("tcp") != std::string::npos) out[{Protocol::Tcp, address, port}] = service;
    if (udp && protocols.find("udp") != std::string::npos)
      out[{Protocol::Udp, address, port}] = service;
  }
  return out;
}

class Fixture : public testing::TestWithParam<const char*> {
 protected:
  static void expect(const Rules& rules, const char* in_use) {
    const std::string name = GetParam();
    const Outcome outcome = outcome_of(name, rules);
    const auto expected = expected_services(name, rules.udp);
    ASSERT_EQ(outcome.services.size(), expected.size());
    for (const ServicePtr& service : outcome.services) {
      SCOPED_TRACE(service->key.to_string());
      ASSERT_TRUE(expected.contains(service->key));
      const json& wanted = expected.at(service->key);
      const bool compat = wanted.contains(in_use);
      EXPECT_EQ(service->origin, wanted["app"].get<std::string>());
      EXPECT_TRUE(service->default_address);
      EXPECT_EQ(in(*service, BackendState::Active, Reason::None),
                addresses(wanted, compat ? in_use : "backends"));
      EXPECT_EQ(in(*service, BackendState::Draining, Reason::Source),
                addresses(wanted, "draining"));
      EXPECT_EQ(in(*service, BackendState::Down, Reason::SourceUnhealthy),
                addresses(wanted, "unhealthy"));
      EXPECT_EQ(in(*service, BackendState::Down, Reason::NotVerified),
                rules.health_unknown == HealthUnknown::Healthy
                    ? Addresses{}
                    : addresses(wanted, "healthUnknown"));
    }
  }
};

TEST_P(Fixture, GivesTheBackendsThatAreExpected) { expect({}, "backends"); }

TEST_P(Fixture, GivesMarathonersBackendsWhenUnknownHealthIsGood) {
  Rules rules;
  rules.health_unknown = HealthUnknown::Healthy;
  expect(rules, "backendsMarathonerCompat");
}

TEST_P(Fixture, GivesUdpServicesToWhoWantsThem) {
  Rules rules;
  rules.udp = true;
  expect(rules, "backends");
}

INSTANTIATE_TEST_SUITE_P(
    Answers, Fixture,
    testing::Values("apps_basic_v0.8.2", "apps_basic_v1.4", "apps_basic_v1.8", "degenerate_nulls",
                    "deployment_port_added_v1.4", "deployment_port_added_v1.8", "empty_apps",
                    "ip_per_task_v1.4", "ip_per_task_v1.8", "mixed_hostport_v1.4",
                    "mixed_hostport_v1.8", "multi_healthcheck_v1.4", "multi_healthcheck_v1.8",
                    "requireports_udp_labels_v1.4", "requireports_udp_labels_v1.8",
                    "task_states_v1.4", "task_states_v1.8"),
    [](const auto& c) {
      std::string name = c.param;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

TEST(Fixtures, UnreachableTasksWithPortsAreListedAsLastResort) {
  for (const char* name : {"task_states_v1.4", "task_states_v1.8"}) {
    const Outcome outcome = outcome_of(name, {});
    ASSERT_EQ(outcome.services.size(), 1U);
    EXPECT_THAT(rows(*outcome.services[0]),
                ElementsAre("10.0.0.1:31050", "10.0.0.2:31051=draining/source",
                            "10.0.0.3:31052=down/unreachable"));
  }
}

TEST(Fixtures, DegenerateAnswerSaysWhatWasLeftOut) {
  EXPECT_THAT(outcome_of("degenerate_nulls", {}).warnings,
              ElementsAre("/t: ports[2] is 70000, which is no port (1 to 65535): it is left out",
                          "/t: ports[3] is -1, which is no port (1 to 65535): it is left out",
                          "/t: task t.1 has no host: it is left out"));
}

TEST(Fixtures, HarmlessAnswersGiveNoWarning) {
  for (const char* name :
       {"apps_basic_v0.8.2", "apps_basic_v1.4", "apps_basic_v1.8", "deployment_port_added_v1.4",
        "task_states_v1.8", "app_list", "multi_healthcheck_v1.8"}) {
    Rules rules;
    rules.label = "";
    EXPECT_THAT(outcome_of(name, rules).warnings, IsEmpty()) << name;
  }
}

// marathon-lb's own data: its group is the gate.
TEST(Fixtures, AppsOfMarathonLbPassByTheirGroup) {
  Rules rules;
  rules.label = "";
  rules.groups = {"external"};
  EXPECT_THAT(
      table(outcome_of("marathon15_apps", rules)),
      ElementsAre(Pair("tcp://127.0.0.1:10101 pywebserver", ElementsAre("10.0.2.148:1565"))));
  EXPECT_THAT(outcome_of("marathon15_apps", rules).warnings,
              ElementsAre(HasSubstr("/pywebserver: ignored: HAPROXY_0_VHOST = 'myvhost.com'")))
      << "a balancer of connections knows no virtual hosts";
  rules.groups = {"internal"};
  EXPECT_THAT(table(outcome_of("marathon15_apps", rules)), IsEmpty());
  rules.groups = {};
  EXPECT_THAT(table(outcome_of("marathon15_apps", Rules{})), IsEmpty()) << "Marathoner's label";
}

// Blue and green both want port 10000 (HAPROXY_0_PORT): the smaller id has it.
TEST(Fixtures, TwoColoursOfOneAppDoNotShareAPort) {
  Rules rules;
  rules.label = "";
  rules.groups = {"*"};
  const Outcome both = outcome_of("zdd_apps", rules);
  EXPECT_THAT(table(both), ElementsAre(Pair("tcp://127.0.0.1:10000 nginx-blue",
                                            ElementsAre("10.0.1.147:25724"))));
  EXPECT_THAT(both.warnings,
              ElementsAre("/nginx-green: port 10000 belongs to /nginx-blue ('nginx-blue'): port "
                          "index 0 is not published, give it another service port"));
  EXPECT_THAT(
      table(outcome_of("zdd_app_blue", rules)),
      ElementsAre(Pair("tcp://127.0.0.1:10000 nginx-green",
                       ElementsAre("10.0.6.25:16916", "10.0.6.25:23336", "10.0.6.25:31184"))));
}

TEST(Fixtures, AppWithoutTasksKeepsItsPorts) {
  Rules rules;
  rules.label = "";
  EXPECT_THAT(table(outcome_of("app_list", rules)),
              ElementsAre(Pair("tcp://127.0.0.1:10013 myapp", IsEmpty()),
                          Pair("tcp://127.0.0.1:10015 myapp_1", IsEmpty())));
}

// GET /v2/apps/ID is another answer; inside of it is an app as in the list.
TEST(Fixtures, AnswerForOneAppIsNoList) {
  const std::string one = fixture("v0.8.0_docs_app_toggle_embed_tasks.json");
  EXPECT_EQ(parse_apps(one).error().message(), "the answer has no array \"apps\"");
  Rules rules;
  rules.label = "";
  Memory memory;
  const auto apps = apps_of(json::parse(one)["app"].dump());
  const Outcome outcome = apply_rules(apps, rules, memory, no_names);
  EXPECT_THAT(table(outcome),
              ElementsAre(Pair("tcp://127.0.0.1:10000 toggle",
                               ElementsAre("10.141.141.10:31045", "10.141.141.10:31234"))));
  EXPECT_THAT(memory.verdicts,
              UnorderedElementsAre(Pair("toggle.7c99814d-3ad4-11e4-a400-56847afe9799", true),
                                   Pair("toggle.802df2ae-3ad4-11e4-a400-56847afe9799", true)));
}

}  // namespace
}  // namespace lb::marathon
