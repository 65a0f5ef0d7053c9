#include "sources/merlion_schema.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

struct TimeCase {
  const char* text;
  const char* utc;  // "" when it is refused
};
class LastSeenAt : public testing::TestWithParam<TimeCase> {};

TEST_P(LastSeenAt, IsReadAsMerlionReadsIt) {
  const auto time = parse_last_seen_at(GetParam().text);
  EXPECT_EQ(time ? format_iso8601(*time) : "", GetParam().utc) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Good, LastSeenAt,
    testing::Values(TimeCase{"2017", "2017-01-01T00:00:00.000Z"},
                    TimeCase{"2017-03", "2017-03-01T00:00:00.000Z"},
                    TimeCase{"2017-03-04", "2017-03-04T00:00:00.000Z"},
                    TimeCase{"2017-03-04T05", "2017-03-04T05:00:00.000Z"},
                    TimeCase{"2017-03-04T05:06", "2017-03-04T05:06:00.000Z"},
                    TimeCase{"2017-03-04T05:06:07", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07.1", "2017-03-04T05:06:07.100Z"},
                    TimeCase{"2017-03-04T05:06:07.123999", "2017-03-04T05:06:07.123Z"},
                    TimeCase{"2017-03-04T05:06:07Z", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07+00:00", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07%2b02:00", "2017-03-04T03:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07%2B02:00", "2017-03-04T03:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07 02:00", "2017-03-04T03:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07-02:30", "2017-03-04T07:36:07.000Z"},
                    TimeCase{"2017-03-04Z", "2017-03-04T00:00:00.000Z"},
                    TimeCase{"2017-03-04T05:59:60Z", "2017-03-04T06:00:00.000Z"},
                    TimeCase{"2016-02-29T00:00:00Z", "2016-02-29T00:00:00.000Z"},
                    TimeCase{"1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000Z"}));
INSTANTIATE_TEST_SUITE_P(
    Bad, LastSeenAt,
    testing::Values(
        TimeCase{"", ""}, TimeCase{"2017-03-04 05:06:07", ""},
        TimeCase{"2017-03-04T05:06:07+0000", ""}, TimeCase{"2017-03-04t05:06:07z", ""},
        TimeCase{"1485354873", ""}, TimeCase{"2017-03-04T05:06:07Z ", ""},
        TimeCase{"2017-03-04T24:00:00", ""}, TimeCase{"2017-03-04T05:06:60", ""},
        TimeCase{"2017-02-30", ""}, TimeCase{"2017-13-01", ""}, TimeCase{"2017-00-01", ""},
        TimeCase{"17-01-01", ""}, TimeCase{"2017-1-1", ""}, TimeCase{"2017-03-04T05:06:07.", ""},
        TimeCase{"2017-03-04T05:06:07+24:00", ""}, TimeCase{"2017-03-04T05:60", ""},
        TimeCase{"\xff\xfe", ""},
        TimeCase{"2017-03-04T05:06:07Z2017-03-04T05:06:07Z2017-03-04T05:06:07Z2017-03-04", ""}));

TEST(Disabled, PresentMeansDisabledUnlessItSaysNo) {
  for (const char* yes : {"1", "true", "t", "yes", "y", "TRUE", "on", "maintenance", "\xff"})
    EXPECT_TRUE(parse_disabled(yes)) << yes;
  for (const char* no : {"", "0", "false", "False", "FALSE", "no", "NO", "off", "oFF"})
    EXPECT_FALSE(parse_disabled(no)) << no;
}

TEST(MerlionAddress, TakesHostsAddressesAndTheStar) {
  EXPECT_EQ(parse_merlion_address("localhost:80").value(), (HostPort{"localhost", 80}));
  EXPECT_EQ(parse_merlion_address("*:8080").value(), (HostPort{"0.0.0.0", 8080}));
  EXPECT_EQ(parse_merlion_address("[::1]:80").value(), (HostPort{"::1", 80}));
  for (const char* bad : {"", ":", ":80", "host", "host:", "host:0", "host:65536", "host:80x",
                          "::1:80", "ho st:80", "http://host:80", "h*st:80", "\xff\xfe:80"})
    EXPECT_FALSE(parse_merlion_address(bad)) << bad;
  const std::string huge(1 << 20, 'x');
  EXPECT_LT(parse_merlion_address(huge + ":80").error().message().size(), 300U);
}

TEST(MerlionConfig, NeedsOnlyThePrefixOfTheBackends) {
  const auto config =
      parse_merlion_config({{"upstream-service-etcd-prefix", "/services/web//"}}, "/c");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->upstream_prefix, "/services/web");
  EXPECT_EQ(config->listen, (HostPort{"0.0.0.0", 8080}));
  EXPECT_EQ(config->freshness, 300s);
}

TEST(MerlionConfig, ReadsEveryKeyAndIgnoresOthers) {
  const auto config = parse_merlion_config({{"upstream-service-etcd-prefix", "/s"},
                                            {"listen-address", "127.0.0.1:81"},
                                            {"upstream-freshness", "5"},
                                            {"state-etcd-prefix", "/state"},
                                            {"log-level", "debug"},
                                            {"log-format", "x"}},
                                           "/c");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->listen, (HostPort{"127.0.0.1", 81}));
  EXPECT_EQ(config->freshness, 5s);
  EXPECT_EQ(config->state_prefix, "/state");
  EXPECT_EQ(config->log_level, LogLevel::Debug);
}

TEST(MerlionConfig, RefusesAStatePrefixThatIsWatched) {
  for (const char* state :
       {"/s", "/s/", "/s/state", "/conf/site", "/conf/site/state", "/conf", "/"}) {
    const auto config = parse_merlion_config(
        {{"upstream-service-etcd-prefix", "/s/"}, {"state-etcd-prefix", state}}, "/conf/site/");
    ASSERT_FALSE(config) << state;
    EXPECT_TRUE(config.error().message().starts_with("etcd key /conf/site")) << state;
  }
  for (const char* state : {"/st", "/state/s", "/conf/site2", "/conf/site-state"})
    EXPECT_TRUE(parse_merlion_config(
        {{"upstream-service-etcd-prefix", "/s"}, {"state-etcd-prefix", state}}, "/conf/site"))
        << state;
}

TEST(MerlionConfig, KnowsMerlionsLogLevels) {
  const auto level = [](const char* text) {
    return parse_merlion_config({{"upstream-service-etcd-prefix", "/s"}, {"log-level", text}}, "/c")
        ->log_level;
  };
  EXPECT_EQ(level("trace"), LogLevel::Trace);
  EXPECT_EQ(level("warn"), LogLevel::Warn);
  EXPECT_EQ(level("fatal"), LogLevel::Critical);
  EXPECT_EQ(level("report"), LogLevel::Critical);
}

struct ConfigCase {
  const char* key;
  std::string value;
};
class BadMerlionConfig : public testing::TestWithParam<ConfigCase> {};

TEST_P(BadMerlionConfig, IsRefusedByTheNameOfItsKey) {
  std::map<std::string, std::string> values{{"upstream-service-etcd-prefix", "/s"}};
  values[GetParam().key] = GetParam().value;
  const auto config = parse_merlion_config(values, "/conf/site");
  ASSERT_FALSE(config);
  const std::string text = config.error().message();
  EXPECT_TRUE(text.starts_with(std::string("etcd key /conf/site/") + GetParam().key)) << text;
  EXPECT_LT(text.size(), 400U);
}
INSTANTIATE_TEST_SUITE_P(
    Cases, BadMerlionConfig,
    testing::Values(ConfigCase{"upstream-service-etcd-prefix", ""},
                    ConfigCase{"upstream-service-etcd-prefix", "///"},
                    ConfigCase{"upstream-service-etcd-prefix", "\x01\xff"},
                    ConfigCase{"upstream-service-etcd-prefix", std::string(1 << 20, 'a')},
                    ConfigCase{"listen-address", "8080"},
                    ConfigCase{"listen-address", std::string(1 << 20, '\xff')},
                    ConfigCase{"upstream-freshness", ""}, ConfigCase{"upstream-freshness", "1.5"},
                    ConfigCase{"upstream-freshness", "5s"},
                    ConfigCase{"upstream-freshness", "99999999999999999999999"},
                    ConfigCase{"state-etcd-prefix", ""}, ConfigCase{"state-etcd-prefix", "state"},
                    ConfigCase{"state-etcd-prefix", "/s/states"}, ConfigCase{"log-level", ""},
                    ConfigCase{"log-level", "noise"},
                    ConfigCase{"log-level", std::string(1 << 20, 'x')}));

TEST(MerlionConfig, AcceptsFreshnessOfZeroAndBelowAsMerlionDoes) {
  const auto config = parse_merlion_config(
      {{"upstream-service-etcd-prefix", "/s"}, {"upstream-freshness", "-1"}}, "/c");
  EXPECT_EQ(config.value().freshness, -1s);
}

}  // namespace
}  // namespace lb
