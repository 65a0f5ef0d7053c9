// Settings in labels: what each means, which goes first, what is said of nonsense.
#include "marathon/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Labels = std::map<std::string, std::string>;

class Settings : public testing::Test {
 protected:
  PortSettings read(const Labels& labels, std::size_t index = 0) {
    problems.clear();
    return read_labels(labels, index, problems);
  }
  std::vector<std::string> names(const Labels& labels, std::size_t ports = 2) {
    problems.clear();
    check_label_names(labels, ports, problems);
    return problems;
  }
  std::vector<std::string> problems;
};

TEST_F(Settings, AreTheDefaultsWithoutLabels) {
  const PortSettings s = read({{"other", "x"}});
  EXPECT_TRUE(s.enabled && !s.port && s.groups.empty() && !s.balance && !s.bind);
  EXPECT_TRUE(!s.drain_timeout && !s.check);
  EXPECT_EQ(s.weight, kDefaultWeight);
  EXPECT_THAT(problems, IsEmpty());
}

TEST_F(Settings, OfAPortGoBeforeThoseOfTheApp) {
  const Labels labels{
      {"LBD_BALANCE", "random"},      {"LBD_1_BALANCE", "p2c"},    {"LBD_WEIGHT", "7"},
      {"LBD_1_WEIGHT", "0"},          {"LBD_DRAIN_TIMEOUT", "5m"}, {"LBD_1_DRAIN_TIMEOUT", "0s"},
      {"LBD_BIND", "127.0.0.2"},      {"LBD_1_BIND", "::1"},       {"HAPROXY_0_BALANCE", "source"},
      {"HAPROXY_1_BALANCE", "source"}};
  const PortSettings app = read(labels, 0);
  EXPECT_EQ(app.balance, Balance::Random);
  EXPECT_EQ(app.weight, 7U);
  EXPECT_EQ(app.drain_timeout, 5min);
  EXPECT_EQ(app.bind->to_string(), "127.0.0.2");
  const PortSettings port = read(labels, 1);
  EXPECT_EQ(port.balance, Balance::P2c);
  EXPECT_EQ(port.weight, 0U);
  EXPECT_EQ(port.drain_timeout, 0s);
  EXPECT_EQ(port.bind->to_string(), "::1");
  EXPECT_THAT(problems, IsEmpty());
}

TEST_F(Settings, OfMarathonLbAreUnderstood) {
  const Labels labels{{"HAPROXY_0_PORT", " 8080 "},
                      {"HAPROXY_0_ENABLED", "False"},
                      {"HAPROXY_0_BALANCE", "RoundRobin"},
                      {"HAPROXY_GROUP", "external, internal,,"},
                      {"HAPROXY_1_GROUP", "x"},
                      {"HAPROXY_1_ENABLED", "true"},
                      {"HAPROXY_1_BALANCE", "leastconn"},
                      {"HAPROXY_0_VHOST", "a.example"}};
  const PortSettings first = read(labels, 0);
  EXPECT_EQ(first.port, 8080);
  EXPECT_FALSE(first.enabled);
  EXPECT_EQ(first.balance, Balance::RoundRobin);
  EXPECT_THAT(first.groups, ElementsAre("external", "internal"));
  const PortSettings second = read(labels, 1);
  EXPECT_TRUE(second.enabled);
  EXPECT_FALSE(second.port);
  EXPECT_EQ(second.balance, Balance::LeastConn);
  EXPECT_THAT(second.groups, ElementsAre("x"));
  EXPECT_THAT(problems, IsEmpty());
  for (const char* off : {"0", "no", "FALSE", " false ", "f", "N"}) {
    EXPECT_FALSE(read({{"HAPROXY_0_ENABLED", off}}).enabled) << off;
    EXPECT_THAT(problems, IsEmpty()) << off;
  }
  // As marathon-lb, which says nothing of it.
  for (const char* neither : {"1", "on", "enabled", "", "tru"}) {
    EXPECT_FALSE(read({{"HAPROXY_0_ENABLED", neither}}).enabled) << neither;
    EXPECT_THAT(problems, ElementsAre(HasSubstr("marathon-lb enables only true, t, yes and y")));
  }
  for (const char* on : {"true", "T", "Yes", "y", " true\n"})
    EXPECT_TRUE(read({{"HAPROXY_0_ENABLED", on}}).enabled) << on;
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(read({{"HAPROXY_0_BALANCE", "source"}}).balance, Balance::SourceHash);
  EXPECT_EQ(read({{"HAPROXY_0_BALANCE", "random"}}).balance, Balance::Random);
}

TEST_F(Settings, ThatAreNonsenseLeaveWhatIsBelowThemInForce) {
  const Labels labels{{"LBD_BALANCE", "leastconn"},  {"HAPROXY_0_BALANCE", "source"},
                      {"LBD_WEIGHT", "65536"},       {"LBD_DRAIN_TIMEOUT", "60"},
                      {"LBD_BIND", "localhost"},     {"HAPROXY_0_PORT", "70000"},
                      {"LBD_HEALTH_CHECK", "HTTPS"}, {"LBD_HEALTH_RISE", "0"}};
  const PortSettings s = read(labels);
  EXPECT_EQ(s.balance, Balance::SourceHash);
  EXPECT_EQ(s.weight, kDefaultWeight);
  EXPECT_FALSE(s.drain_timeout);
  EXPECT_FALSE(s.bind);
  EXPECT_FALSE(s.port);
  EXPECT_EQ(s.check, HealthCheck{});
  EXPECT_THAT(
      problems,
      ElementsAre(
          "label HAPROXY_0_PORT = '70000' is ignored: write a port from 1 to 65535",
          "label LBD_BALANCE = 'leastconn' is ignored: write least-conn, p2c, random, round-robin "
          "or source-hash",
          "label LBD_WEIGHT = '65536' is ignored: write a whole number from 0 to 65535",
          "label LBD_DRAIN_TIMEOUT = '60' is ignored: write a duration from 0s to 365d, such as 5s",
          "label LBD_BIND = 'localhost' is ignored: write an address like 127.0.0.1 or ::1",
          "label LBD_HEALTH_CHECK = 'HTTPS' is ignored: write tcp, http or none",
          "label LBD_HEALTH_RISE = '0' is ignored: write a whole number from 1 to 100"));
}

TEST_F(Settings, RefuseWhatHaproxyDoesWithRequests) {
  for (const char* method : {"uri", "first", "url_param(x)", "hdr(Host)", "rdp-cookie", ""}) {
    EXPECT_FALSE(read({{"HAPROXY_0_BALANCE", method}}).balance);
    EXPECT_THAT(problems, ElementsAre(HasSubstr("write roundrobin, leastconn, source or random")))
        << method;
  }
}

TEST_F(Settings, MayBeAnyBytes) {
  (void)read({{"LBD_WEIGHT", std::string("\xff\0\n 5", 5)}, {"LBD_BIND", std::string(5000, 'x')}});
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_THAT(problems[0], HasSubstr("'\\xff\\x00\\x0a 5'"));
  EXPECT_LT(problems[1].size(), 200U);
}

TEST_F(Settings, OfAHealthCheckMayStandAlone) {
  EXPECT_EQ(read({{"LBD_HEALTH_CHECK", "tcp"}}).check, HealthCheck{});
  EXPECT_EQ(read({{"LBD_HEALTH_FALL", "5"}}).check->type, HealthCheck::Type::Tcp);
  const auto path = read({{"LBD_HEALTH_PATH", "/up?x=1"}}).check;
  EXPECT_EQ(path->type, HealthCheck::Type::Http);
  EXPECT_EQ(path->path, "/up?x=1");
  EXPECT_FALSE(read({{"LBD_HEALTH_PATH", "/"}, {"LBD_HEALTH_CHECK", "none"}}).check);
  const Labels all{{"LBD_HEALTH_CHECK", "HTTP"},     {"LBD_HEALTH_PORT", "81"},
                   {"LBD_HEALTH_INTERVAL", "500ms"}, {"LBD_HEALTH_TIMEOUT", "1s"},
                   {"LBD_HEALTH_RISE", "1"},         {"LBD_HEALTH_FALL", "9"},
                   {"LBD_0_HEALTH_PATH", "/zero"},   {"LBD_1_HEALTH_CHECK", "none"}};
  EXPECT_EQ(read(all, 0).check,
            (HealthCheck{HealthCheck::Type::Http, "/zero", 81, 500ms, 1s, 1, 9}));
  EXPECT_FALSE(read(all, 1).check);
  EXPECT_EQ(read(all, 2).check->path, "/");
  EXPECT_THAT(problems, IsEmpty());
}

TEST_F(Settings, OfAHealthCheckAreLookedAt) {
  for (const char* path : {"up", "/a b", "/\r\nX: y", "", "/\xc3\xa9", "/a#b"}) {
    EXPECT_EQ(read({{"LBD_HEALTH_PATH", path}}).check->path, "/") << path;
    EXPECT_THAT(problems, SizeIs(1)) << path;
  }
  EXPECT_EQ(read({{"LBD_HEALTH_INTERVAL", "1ms"}}).check->interval, 2s);
  EXPECT_THAT(problems, SizeIs(1));
  EXPECT_EQ(read({{"LBD_HEALTH_CHECK", "tcp"}, {"LBD_HEALTH_PATH", "/x"}}).check->type,
            HealthCheck::Type::Tcp);
  EXPECT_THAT(problems, ElementsAre("label LBD_HEALTH_PATH = '/x' is ignored: write "
                                    "LBD_HEALTH_CHECK = http beside it, or remove it"));
}

// A label may say what a services file may, and no more: tests/unit/sources/services_file_test.cpp.
TEST_F(Settings, OfAHealthCheckHaveTheLimitsOfServicesFiles) {
  const HealthCheck check = *read({{"LBD_HEALTH_INTERVAL", "100ms"},
                                   {"LBD_HEALTH_TIMEOUT", "10ms"},
                                   {"LBD_HEALTH_RISE", "100"},
                                   {"LBD_HEALTH_FALL", "100"}})
                                 .check;
  EXPECT_EQ(check, (HealthCheck{HealthCheck::Type::Tcp, "/", 0, 100ms, 10ms, 100, 100}));
  EXPECT_THAT(problems, IsEmpty());
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"LBD_HEALTH_INTERVAL", "99ms"},
                                                                  {"LBD_HEALTH_INTERVAL", "61m"},
                                                                  {"LBD_HEALTH_TIMEOUT", "9ms"},
                                                                  {"LBD_HEALTH_TIMEOUT", "61s"},
                                                                  {"LBD_HEALTH_RISE", "101"},
                                                                  {"LBD_HEALTH_FALL", "101"}}) {
    EXPECT_EQ(read({{name, value}}).check, HealthCheck{}) << name << " " << value;
    EXPECT_THAT(problems, SizeIs(1)) << name << " " << value;
  }
}

TEST_F(Settings, NamesAreChecked) {
  EXPECT_THAT(names({{"LBD_BALANCE", "x"},
                     {"LBD_1_HEALTH_PATH", "x"},
                     {"lbd_weight", "x"},
                     {"HAPROXY_0_MODE", "tcp"},
                     {"HAPROXY_0_PORT", "80"},
                     {"HAPROXY_APP_ID", "x"},
                     {"HAPROXY_DEPLOYMENT_COLOUR", "blue"},
                     {"HAPROXY_GROUP", "x"}}),
              IsEmpty());
  EXPECT_THAT(
      names({{"LBD_BALLANCE", "x"}, {"LBD_0_HEALTHCHECK", "x"}, {"LBD_ZZZZ", "x"}, {"LBD_", "x"}}),
      ElementsAre("label LBD_ means nothing to lbd: the known ones are in docs/OPERATIONS.md",
                  "label LBD_0_HEALTHCHECK means nothing to lbd: did you mean LBD_0_HEALTH_CHECK?",
                  "label LBD_BALLANCE means nothing to lbd: did you mean LBD_BALANCE?",
                  "label LBD_ZZZZ means nothing to lbd: the known ones are in docs/OPERATIONS.md"));
  EXPECT_THAT(
      names({{"HAPROXY_0_VHOST", "a.example"},
             {"HAPROXY_0_BIND_ADDR", "0.0.0.0"},
             {"HAPROXY_1_BALLANCE", "source"},
             {"HAPROXY_0_MODE", "http"}}),
      ElementsAre("ignored: HAPROXY_0_BIND_ADDR = '0.0.0.0', HAPROXY_0_MODE = 'http', "
                  "HAPROXY_0_VHOST = 'a.example', HAPROXY_1_BALLANCE = 'source' (did you "
                  "mean BALANCE?): of marathon-lb's labels lbd follows HAPROXY_{n}_ENABLED, "
                  "_PORT, _GROUP and _BALANCE; the address to listen on is LBD_BIND"));
  EXPECT_THAT(names({{"LBD_2_WEIGHT", "1"}}),
              ElementsAre("label LBD_2_WEIGHT is ignored: the app has 2 ports, counted from 0"));
  EXPECT_THAT(names({{"LBD_00_WEIGHT", "1"}}),
              ElementsAre("label LBD_00_WEIGHT means nothing to lbd: did you mean LBD_0_WEIGHT?"));
}

}  // namespace
}  // namespace lb::marathon
