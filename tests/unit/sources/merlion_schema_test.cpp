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
// What `date` and editors write.
INSTANTIATE_TEST_SUITE_P(
    Date, LastSeenAt,
    testing::Values(TimeCase{"2017-03-04T05:06:07+00:00\n", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07Z\r\n", "2017-03-04T05:06:07.000Z"},
                    TimeCase{" 2017-03-04T05:06:07Z\t", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07,123456789+00:00", "2017-03-04T05:06:07.123Z"},
                    TimeCase{"2017-03-04T05:06:07,123456789-0230", "2017-03-04T07:36:07.123Z"},
                    TimeCase{"2017-03-04T05:06:07+0000", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07-0230", "2017-03-04T07:36:07.000Z"},
                    TimeCase{"2017-03-04T05:06:07+02", "2017-03-04T03:06:07.000Z"},
                    TimeCase{"2017-03-04T05:06+02:00", "2017-03-04T03:06:00.000Z"},
                    TimeCase{"2017-03-04 05:06:07+00:00", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04 05:06:07.123456789-02:30", "2017-03-04T07:36:07.123Z"},
                    TimeCase{"2017-03-04 05:06:07", "2017-03-04T05:06:07.000Z"},
                    TimeCase{"2017-03-04t05:06:07z", "2017-03-04T05:06:07.000Z"}));
INSTANTIATE_TEST_SUITE_P(
    Bad, LastSeenAt,
    testing::Values(
        TimeCase{"", ""}, TimeCase{" \n", ""}, TimeCase{"1485354873", ""},
        TimeCase{"2017-03-04T05:06:07,", ""}, TimeCase{"2017-03-04T05:06:07+00:0", ""},
        TimeCase{"2017-03-04T05:06:07+2400", ""}, TimeCase{"2017-03-04  05:06:07", ""},
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

TEST(MerlionAddress, OfABackendNamesAHost) {
  EXPECT_EQ(parse_merlion_backend(" 10.0.0.1:80\r\n").value(), (HostPort{"10.0.0.1", 80}));
  EXPECT_EQ(parse_merlion_backend("localhost:80").value(), (HostPort{"localhost", 80}));
  for (const char* none :
       {"0.0.0.0:80", "*:80", "[::]:80", "[::ffff:0.0.0.0]:80", "0.1.2.3:80", "224.0.0.1:80",
        "239.255.255.250:80", "[ff02::1]:80", "255.255.255.255:80", "10.0.0.1:0", "*:0"}) {
    const auto refused = parse_merlion_backend(none);
    ASSERT_FALSE(refused) << none;
    EXPECT_NE(refused.error().message().find(none), std::string::npos) << refused.error().message();
  }
}

TEST(MerlionKeys, ThatAreMisspeltAreNamed) {
  EXPECT_NE(misspelt_backend_key("listen_address").find("did you mean listen-address?"),
            std::string::npos);
  EXPECT_NE(misspelt_backend_key("last-seen").find("last-seen-at?"), std::string::npos);
  EXPECT_NE(misspelt_backend_key("Disabled").find("disabled?"), std::string::npos);
  EXPECT_NE(misspelt_backend_key("listen").find("listen-address?"), std::string::npos);
  EXPECT_NE(misspelt_config_key("upstream-service-prefix").find("did you mean"), std::string::npos);
  EXPECT_NE(misspelt_config_key("freshness").find("upstream-freshness?"), std::string::npos);
  for (const char* own : {"listen-address", "last-seen-at", "disabled", "owner", "x", "", "region"})
    EXPECT_EQ(misspelt_backend_key(own), "") << own;
  for (const char* own : {"log-format", "log-level", "state-etcd-prefix", "team", "backends/a/b"})
    EXPECT_EQ(misspelt_config_key(own), "") << own;
}

TEST(MerlionConfig, BlanksAndLineEndsAroundValuesMeanNothing) {
  const auto config = parse_merlion_config({{"upstream-service-etcd-prefix", "/s/\n"},
                                            {"listen-address", "127.0.0.1:81\r\n"},
                                            {"upstream-freshness", " 5\n"},
                                            {"state-etcd-prefix", "/state\n"},
                                            {"log-level", "debug\n"}},
                                           "/c");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->upstream_prefix, "/s");
  EXPECT_EQ(config->listen, (HostPort{"127.0.0.1", 81}));
  EXPECT_EQ(config->freshness, 5s);
  EXPECT_EQ(config->state_prefix, "/state");
  EXPECT_EQ(config->log_level, LogLevel::Debug);
  EXPECT_FALSE(parse_disabled("false\n"));
  EXPECT_FALSE(parse_disabled(" \r\n"));
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
