// States, health, addresses and ports, beyond what the fixtures show.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "rules_fixture.h"

namespace lb::marathon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

constexpr const char* kOn = R"("labels":{"marathoner_haproxy_enabled":"true"})";

// An app with service port 10000, the checks that are given, and tasks.
std::string checked(const std::string& tasks, const char* id = "/a") {
  return fmt::format(
      R"({{"id":"{}",{},"ports":[10000],"healthChecks":[{{"protocol":"HTTP"}}],"tasks":[{}]}})", id,
      kOn, tasks);
}
std::string plain(const std::string& tasks, const char* id = "/a", const char* more = "") {
  return fmt::format(R"({{"id":"{}",{},"ports":[10000],{}"tasks":[{}]}})", id, kOn, more, tasks);
}
// Task N is on 10.0.0.N:3100N.
std::string task(int n, const std::string& more = "", const char* state = "TASK_RUNNING") {
  return fmt::format(R"({{"id":"t{}","host":"10.0.0.{}","ports":[{}],"state":"{}"{}}})", n, n,
                     31000 + n, state, more);
}
std::string with_result(int n, bool alive, const char* state = "TASK_RUNNING") {
  return task(n, fmt::format(R"(,"healthCheckResults":[{{"alive":{}}}])", alive), state);
}

class Health : public Readings {};

TEST_F(Health, IsRememberedWhenAllResultsAreLostAtOnce) {
  read(checked(with_result(1, true) + "," + with_result(2, true) + "," + with_result(3, false)));
  const auto before = only();
  EXPECT_THAT(before,
              ElementsAre("10.0.0.1:31001", "10.0.0.2:31002", "10.0.0.3:31003=down/unhealthy"));
  const ServicePtr same = outcome.services[0];
  read(checked(task(1) + "," + task(2) + "," + task(3)));
  EXPECT_EQ(only(), before);
  EXPECT_EQ(outcome.services[0], same) << "nothing has changed";
  read(checked(task(1, R"(,"healthCheckResults":[])") + "," + with_result(2, false)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=down/unhealthy"));
}

TEST_F(Health, OfNewTasksDoesNotEmptyAnAppWhoseOldTasksAreStillThere) {
  read(checked(with_result(1, true) + "," + with_result(2, true)));
  read(checked(task(1) + "," + task(2) + "," + task(3) + "," + task(4)));
  EXPECT_THAT(only(),
              ElementsAre("10.0.0.1:31001", "10.0.0.2:31002", "10.0.0.3:31003=down/not-verified",
                          "10.0.0.4:31004=down/not-verified"));
  read(checked(task(1, "", "TASK_KILLING") + "," + task(2, "", "TASK_KILLING") + "," + task(3)));
  EXPECT_THAT(only(),
              ElementsAre("10.0.0.1:31001=draining/source", "10.0.0.2:31002=draining/source",
                          "10.0.0.3:31003=down/not-verified"))
      << "those that leave are the last resort";
  read(checked(with_result(3, true)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.3:31003"));
}

TEST_F(Health, SurvivesAnEmptyAnswerBeforeTheResultsAreLost) {
  read(checked(with_result(1, true) + "," + with_result(2, false)));
  read("");
  EXPECT_THAT(outcome.services, IsEmpty());
  read(checked(task(1) + "," + task(2)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=down/unhealthy"));
}

TEST_F(Health, IsTakenFromTheLastServicesOfAnEarlierRun) {
  read(checked(with_result(1, true) + "," + task(2)));
  memory = {};
  read(checked(task(1) + "," + task(2)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=down/not-verified"));
}

TEST_F(Health, OfATaskIsNotThatOfAnotherAppsTaskWithTheSameId) {
  const std::string both =
      R"({"id":"/b","labels":{"marathoner_haproxy_enabled":"1"},"ports":[2],"tasks":[)" + task(1) +
      "]}," + checked(task(1));
  for (int i = 0; i < 2; ++i) {
    read(both);
    EXPECT_THAT(table(outcome),
                ElementsAre(Pair("tcp://127.0.0.1:10000 a",
                                 ElementsAre("10.0.0.1:31001=down/not-verified")),
                            Pair("tcp://127.0.0.1:2 b", ElementsAre("10.0.0.1:31001"))));
  }
}

TEST_F(Health, ThatWasNeverKnownIsGoodOnlyForMarathoner) {
  read(checked(task(1)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001=down/not-verified"));
  rules.health_unknown = HealthUnknown::Healthy;
  read(checked(task(1)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001"));
  read(checked(with_result(1, false)));
  read(checked(task(1)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001=down/unhealthy")) << "it was known";
}

TEST_F(Health, OfGoneTasksIsForgottenBeforeItFillsTheMemory) {
  for (int i = 0; i < 30'000; ++i) memory.verdicts[fmt::format("gone.{}", i)] = true;
  read(checked(with_result(1, true)));
  EXPECT_THAT(memory.verdicts, ElementsAre(Pair("t1", true)));
}

TEST_F(Health, OneBadResultIsEnough) {
  read(checked(task(1, R"(,"healthCheckResults":[{"alive":true},null,{"alive":false}])")));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001=down/unhealthy"));
  read(checked(task(1, R"(,"healthCheckResults":[{"alive":true},null,{"alive":null},7])")));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001"));
}

class States : public Readings {};

TEST_F(States, DecideWhoIsListed) {
  std::string tasks;
  int n = 0;
  for (const char* state :
       {"TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE", "TASK_LOST", "TASK_STAGING",
        "TASK_STARTING", "TASK_ERROR", "TASK_FAILED", "TASK_FINISHED", "TASK_KILLED", "TASK_GONE",
        "TASK_DROPPED", "TASK_UNKNOWN", "TASK_OF_TOMORROW"})
    tasks += (tasks.empty() ? "" : ",") + task(++n, "", state);
  const std::string app = plain(tasks);
  read(app);
  EXPECT_THAT(only(),
              ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=draining/source",
                          "10.0.0.3:31003=down/unreachable", "10.0.0.4:31004=down/unreachable"));
  rules.unreachable = Unreachable::Use;
  read(app);
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=draining/source",
                                  "10.0.0.3:31003", "10.0.0.4:31004"));
  rules.unreachable = Unreachable::Drop;
  read(app);
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001", "10.0.0.2:31002=draining/source"));
  EXPECT_THAT(outcome.warnings, IsEmpty());
}

TEST_F(States, UnhealthyTasksAreNoLastResortWhateverTheirState) {
  for (const char* state : {"TASK_KILLING", "TASK_UNREACHABLE"}) {
    read(checked(with_result(1, false, state)));
    EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001=down/unhealthy")) << state;
  }
}

TEST_F(States, EndedTasksDrainUntilAReadingLacksThem) {
  memory.ended = {"t1", "elsewhere"};
  read(plain(task(1) + "," + task(2)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001=draining/source", "10.0.0.2:31002"));
  EXPECT_THAT(memory.ended, ElementsAre("t1"));
  read(plain(task(2)));
  EXPECT_THAT(memory.ended, IsEmpty());
}

// A task with a volume of its own keeps its id when it is started again (before 1.8).
TEST_F(States, EndedTasksThatStartAgainAreNotEndedAnyMore) {
  memory.ended = {"t1"};
  read(plain(task(1, "", "TASK_STAGING")));
  EXPECT_THAT(only(), IsEmpty());
  read(plain(task(1)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001"));
}

TEST_F(States, AreToldByStartedAtWhereTheVersionHasNone) {
  const char* started =
      R"({"id":"a","host":"10.0.0.1","ports":[1],"startedAt":"2015-01-01T00:00:00Z"})";
  const char* staged = R"({"id":"b","host":"10.0.0.2","ports":[2],"startedAt":null})";
  const char* absent = R"({"id":"c","host":"10.0.0.3","ports":[3]})";
  const char* number = R"({"id":"d","host":"10.0.0.4","ports":[4],"startedAt":1})";
  read(plain(fmt::format("{},{},{},{}", started, staged, absent, number)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:1"));
}

TEST_F(States, TasksThatAreNotReadyWait) {
  const char* results =
      R"("readinessCheckResults":[{"name":"r","taskId":"t1","ready":false},{"name":"r","taskId":"t2","ready":true},null,{"ready":false}],)";
  read(plain(task(1) + "," + task(2) + "," + task(3), "/a", results));
  EXPECT_THAT(only(),
              ElementsAre("10.0.0.1:31001=down/not-verified", "10.0.0.2:31002", "10.0.0.3:31003"));
}

class Ports : public Readings {};

TEST_F(Ports, BelongToTheSmallestAppId) {
  const std::string a = plain(task(1), "/a");
  const std::string b = plain(task(2), "/b");
  for (const std::string& answer : {a + "," + b, b + "," + a}) {
    read(answer);
    EXPECT_THAT(table(outcome),
                ElementsAre(Pair("tcp://127.0.0.1:10000 a", ElementsAre("10.0.0.1:31001"))));
    EXPECT_THAT(outcome.warnings,
                ElementsAre("/b: port 10000 belongs to /a ('a'): port index 0 is not published, "
                            "give it another service port"));
  }
}

TEST_F(Ports, OfTwoAppsOnTwoAddressesDoNotMeet) {
  read(
      plain(task(1), "/a") + "," +
      R"({"id":"/b","labels":{"marathoner_haproxy_enabled":"1","LBD_BIND":"127.0.0.2"},"ports":[10000]})");
  EXPECT_THAT(table(outcome), ElementsAre(Pair("tcp://127.0.0.1:10000 a", SizeIs(1)),
                                          Pair("tcp://127.0.0.2:10000 b", IsEmpty())));
  EXPECT_TRUE(outcome.services[0]->default_address);
  EXPECT_FALSE(outcome.services[1]->default_address);
  EXPECT_THAT(outcome.warnings, IsEmpty());
}

TEST_F(Ports, CanBeTheSameTwiceInOneAppOnlyByMistake) {
  read(fmt::format(R"({{"id":"/a",{},"ports":[10000,10000]}})", kOn));
  EXPECT_THAT(table(outcome), ElementsAre(Pair("tcp://127.0.0.1:10000 a", IsEmpty())));
  EXPECT_THAT(outcome.warnings, ElementsAre(HasSubstr("port index 1 is not published")));
}

TEST_F(Ports, KeepTheirIndexWhenOneIsNotAllocated) {
  read(fmt::format(
      R"({{"id":"/g/a",{},"ports":[0,10001,null,10003],"tasks":[{{"id":"t","host":"10.0.0.1","ports":[31,32,33,34],"state":"TASK_RUNNING"}}]}})",
      kOn));
  EXPECT_THAT(table(outcome),
              ElementsAre(Pair("tcp://127.0.0.1:10001 g/a_1", ElementsAre("10.0.0.1:32")),
                          Pair("tcp://127.0.0.1:10003 g/a_3", ElementsAre("10.0.0.1:34"))));
  EXPECT_THAT(outcome.warnings, IsEmpty());
}

TEST_F(Ports, ThatAreNonsenseAreNamed) {
  read(fmt::format(
      R"({{"id":"/a",{},"ports":[70000,-1,"80",80.5,1e999,8.08e3,[1],99999999999999999999,80],"tasks":[]}})",
      kOn));
  EXPECT_THAT(table(outcome), ElementsAre(Pair("tcp://127.0.0.1:80 a_8", IsEmpty()),
                                          Pair("tcp://127.0.0.1:8080 a_5", IsEmpty())));
  EXPECT_THAT(outcome.warnings, SizeIs(7));
  EXPECT_THAT(outcome.warnings,
              Contains("/a: ports[2] is \"80\", which is no port (1 to 65535): it is left out"));
}

TEST_F(Ports, OfOtherProtocolsAreNotPublished) {
  const std::string answer = fmt::format(
      R"({{"id":"/a",{},"portDefinitions":[{{"port":1,"protocol":"tcp"}},{{"port":2,"protocol":"tcp,udp"}},{{"port":3,"protocol":"udp"}},{{"port":4,"protocol":"sctp"}},{{"port":5,"protocol":null}}]}})",
      kOn);
  read(answer);
  EXPECT_THAT(table(outcome), ElementsAre(Pair("tcp://127.0.0.1:1 a", IsEmpty()),
                                          Pair("tcp://127.0.0.1:2 a_1", IsEmpty()),
                                          Pair("tcp://127.0.0.1:5 a_4", IsEmpty())));
  EXPECT_THAT(outcome.warnings,
              ElementsAre("/a: portDefinitions[3]: protocol \"sctp\" is neither tcp nor udp: it is "
                          "left out"));
  rules.udp = true;
  read(answer);
  EXPECT_THAT(table(outcome), SizeIs(5));
  EXPECT_THAT(table(outcome), Contains(Pair("udp://127.0.0.1:2 a_1", IsEmpty())));
}

class Hosts : public Readings {};

TEST_F(Hosts, AreLookedUpByTheCaller) {
  names["node1"] = IpAddress::parse("10.1.0.1").value();
  const std::string answer = plain(
      R"({"id":"t1","host":"node1","ports":[1],"state":"TASK_RUNNING"},{"id":"t2","host":"node2","ports":[2],"state":"TASK_RUNNING"},{"id":"t3","host":"10.0.0.3","ports":[3],"state":"TASK_RUNNING"},{"id":"t4","host":"fd00::4","ports":[3],"state":"TASK_RUNNING"})");
  read(answer);
  EXPECT_THAT(only(), ElementsAre("10.0.0.3:3", "10.1.0.1:1", "[fd00::4]:3"));
  EXPECT_THAT(outcome.names, ElementsAre("node1", "node2"));
  EXPECT_THAT(outcome.warnings,
              ElementsAre("/a: task t2: host 'node2' has no address that one can connect to: it is "
                          "left out"));
  EXPECT_EQ(outcome.services[0]->backends[1].host, "node1");
  names.clear();
  read(answer);
  EXPECT_THAT(only(), Contains("10.1.0.1:1")) << "the last address stays";
}

TEST_F(Hosts, ThatCannotBeConnectedToAreLeftOut) {
  read(plain(R"({"id":"t1","host":"0.0.0.0","ports":[1],"state":"TASK_RUNNING"})"));
  EXPECT_THAT(only(), IsEmpty());
  EXPECT_THAT(outcome.warnings, SizeIs(1));
}

TEST_F(Hosts, OfTasksWithAddressesOfTheirOwnAreNotLookedUp) {
  read(fmt::format(
      R"({{"id":"/a",{},"networks":[{{"name":"x"}}],"container":{{"portMappings":[{{"containerPort":80,"servicePort":10000}}]}},"tasks":[{{"id":"t1","host":"node1","state":"TASK_RUNNING","ipAddresses":[{{"ipAddress":"nonsense"}},{{"ipAddress":"fd00::1","protocol":"IPv6"}}]}},{{"id":"t2","host":"node1","state":"TASK_RUNNING","ipAddresses":[]}},{{"id":"t3","host":"node1","state":"TASK_UNREACHABLE"}}]}})",
      kOn));
  EXPECT_THAT(only(), ElementsAre("[fd00::1]:80"));
  EXPECT_THAT(outcome.names, IsEmpty());
  EXPECT_THAT(outcome.warnings,
              ElementsAre("/a: task t2 has no address of its own (ipAddresses): it is left out"));
}

class Oddities : public Readings {};

TEST_F(Oddities, TheLabelDecidesExactly) {
  const auto published = [&](const char* value) {
    read(fmt::format(R"({{"id":"/a","labels":{{"marathoner_haproxy_enabled":{}}},"ports":[1]}})",
                     value));
    return !outcome.services.empty();
  };
  for (const char* yes : {R"("true")", R"("1")", R"(" true\n")", "1", "true"})
    EXPECT_TRUE(published(yes)) << yes;
  for (const char* no : {R"("True")", R"("TRUE")", R"("yes")", R"("0")", R"("")", R"(" ")",
                         R"("truetrue")", "false", "null", "[1]", "{}"})
    EXPECT_FALSE(published(no)) << no;
  for (const char* meant : {R"("yes")", R"("True")", R"("on")"}) {
    EXPECT_FALSE(published(meant));
    EXPECT_THAT(outcome.warnings,
                ElementsAre(HasSubstr("publishes nothing: did you mean 'true'?")));
  }
  for (const char* no : {R"("false")", R"("no")", R"("0")", R"("")"}) {
    EXPECT_FALSE(published(no));
    EXPECT_THAT(outcome.warnings, IsEmpty()) << no;
  }
  rules.label = "";
  EXPECT_TRUE(published("null"));
  rules.label = "other";
  EXPECT_FALSE(published(R"("true")"));
}

TEST_F(Oddities, OneBackendForOneAddressAndTheBetterOne) {
  const auto at = [](const char* id, const char* state) {
    return fmt::format(R"({{"id":"{}","host":"10.0.0.1","ports":[31001],"state":"{}"}})", id,
                       state);
  };
  const std::string old_one = at("a", "TASK_KILLING");
  const std::string new_one = at("b", "TASK_RUNNING");
  for (const std::string& tasks : {old_one + "," + new_one, new_one + "," + old_one}) {
    read(plain(tasks));
    EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001"));
    EXPECT_EQ(outcome.services[0]->backends[0].id, "b");
    EXPECT_THAT(outcome.warnings,
                ElementsAre("/a: task a has the address of task b (10.0.0.1:31001): it is left "
                            "out"));
  }
  read(plain(task(1) + "," + task(1)));
  EXPECT_THAT(outcome.warnings, ElementsAre("/a: task t1 is listed twice"));
}

TEST_F(Oddities, AnAppThatIsListedTwiceCountsOnce) {
  read(plain(task(1)) + "," + plain(task(2)));
  EXPECT_THAT(only(), ElementsAre("10.0.0.1:31001"));
  EXPECT_THAT(outcome.warnings, ElementsAre("/a: the app is listed twice: the first one counts"));
}

TEST_F(Oddities, WarningsAreTheSameAtEachReadingAndEnd) {
  std::string tasks;
  for (int i = 0; i < 300; ++i)
    tasks += fmt::format(R"({}{{"id":"t{}","host":null,"ports":[1],"state":"TASK_RUNNING"}})",
                         i > 0 ? "," : "", i);
  read(plain(tasks));
  ASSERT_THAT(outcome.warnings, SizeIs(201));
  EXPECT_EQ(outcome.warnings.back(), "... and 100 more");
  const auto before = outcome.warnings;
  EXPECT_EQ(read(plain(tasks)).warnings, before);
}

TEST_F(Oddities, UnlabelledAppsAreNotComplainedAbout) {
  read(
      R"({"id":"/a","ports":[70000],"labels":{"LBD_WIEGHT":"x"},"tasks":[{"id":"t","host":"nowhere","state":"TASK_RUNNING","ports":[1]}]})");
  EXPECT_THAT(outcome.warnings, IsEmpty());
  EXPECT_THAT(outcome.names, IsEmpty());
}

TEST_F(Oddities, NamesPassThroughAndWarningsStayPrintable) {
  read(fmt::format(R"({{"id":"/caf\u00e9 au lait",{},"ports":[10000,-1],"tasks":[{}]}})", kOn,
                   R"({"id":"t 1 é","host":"10.0.0.1","ports":[1],"state":"TASK_RUNNING"})"));
  ASSERT_EQ(outcome.services.size(), 1U);
  EXPECT_EQ(outcome.services[0]->name, "café au lait");
  EXPECT_EQ(outcome.services[0]->backends[0].id, "t 1 é");
  EXPECT_THAT(outcome.warnings,
              ElementsAre("/caf\\xc3\\xa9 au lait: ports[1] is -1, which is no port (1 to 65535): "
                          "it is left out"));
}

TEST_F(Oddities, UnchangedServicesKeepTheirPointers) {
  const std::string b = R"({"id":"/b","labels":{"marathoner_haproxy_enabled":"1"},"ports":[2]})";
  read(plain(task(1)) + "," + b);
  const auto before = outcome.services;
  read(plain(task(1) + "," + task(2)) + "," + b);
  ASSERT_EQ(outcome.services.size(), 2U);
  EXPECT_EQ(outcome.services[0], before[0]) << "port 2";
  EXPECT_NE(outcome.services[1], before[1]) << "port 10000 has a backend more";
}

}  // namespace
}  // namespace lb::marathon
