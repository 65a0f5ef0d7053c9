#include "base/time.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

TEST(Iso8601, WritesUtcWithMilliseconds) {
  EXPECT_EQ(format_iso8601(SysTime(0ms)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_iso8601(SysTime(1'795'313'635'123ms)), "2026-11-22T02:13:55.123Z");
  EXPECT_EQ(format_iso8601(SysTime(-1ms)), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(format_iso8601(parse_iso8601("9999-12-31T23:59:59.999Z").value()),
            "9999-12-31T23:59:59.999Z");
}

TEST(Iso8601, ReadsWhatItWrites) {
  for (const auto ms : {0LL, 999LL, 951'782'400'000LL /* 29 February */, 4'102'444'800'001LL, -1LL})
    EXPECT_EQ(parse_iso8601(format_iso8601(SysTime(std::chrono::milliseconds(ms)))).value(),
              SysTime(std::chrono::milliseconds(ms)));
}

class BadTime : public testing::TestWithParam<const char*> {};

TEST_P(BadTime, IsRefused) {
  const auto time = parse_iso8601(GetParam());
  ASSERT_FALSE(time) << format_iso8601(*time);
  EXPECT_EQ(time.error().message(),
            "'" + std::string(GetParam()) + "' is not a time like 2026-01-31T12:00:00.000Z");
}

INSTANTIATE_TEST_SUITE_P(Cases, BadTime,
                         testing::Values("", "now", "2026-11-22", "2026-11-22T02:13:55Z",
                                         "2026-11-22T02:13:55.123", "2026-11-22T02:13:55.123Z ",
                                         "2026-13-22T02:13:55.123Z", "2026-02-30T02:13:55.123Z",
                                         "2026-11-22T02:13:55.5Z", "+026-11-22T02:13:55.123Z",
                                         "2026-11-22T02:13:55.123+01:00"));

struct DurationCase {
  const char* text;
  std::chrono::milliseconds value;
  const char* shortest;
};

class Durations : public testing::TestWithParam<DurationCase> {};

TEST_P(Durations, AreReadAndWrittenShortest) {
  const auto& c = GetParam();
  EXPECT_EQ(parse_duration(c.text).value(), c.value);
  EXPECT_EQ(format_duration(c.value), c.shortest);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Durations,
    testing::Values(DurationCase{"250ms", 250ms, "250ms"}, DurationCase{"60s", 60s, "1m"},
                    DurationCase{"90s", 90s, "90s"}, DurationCase{"1500ms", 1500ms, "1500ms"},
                    DurationCase{"5m", 5min, "5m"}, DurationCase{"48h", 48h, "2d"},
                    DurationCase{"0s", 0ms, "0s"}, DurationCase{"0ms", 0ms, "0s"}));

class BadDuration : public testing::TestWithParam<const char*> {};

TEST_P(BadDuration, IsRefusedWithAnExample) {
  const auto duration = parse_duration(GetParam());
  ASSERT_FALSE(duration);
  EXPECT_EQ(duration.error().message(),
            "'" + std::string(GetParam()) +
                "' is not a duration: write for example \"250ms\", \"60s\" or \"5m\"");
}

INSTANTIATE_TEST_SUITE_P(Cases, BadDuration,
                         testing::Values("", "60", "s", "-5s", " 5s", "5 s", "1.5s", "5S", "5y",
                                         "-99999999999999999999s", "99999999999999999999"));

// Sums of durations are formed all over the place: none is so long that one overflows.
TEST(LongDuration, IsRefusedOfAPersonAndCutOfAFile) {
  EXPECT_EQ(parse_duration("365d").value(), 24h * 365);
  for (const char* text : {"366d", "8761h", "31536000001ms", "9000000000000000ms",
                           "9223372036854775807d", "99999999999999999999s"}) {
    const auto refused = parse_duration(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_NE(refused.error().message().find("at most 365d"), std::string::npos);
    EXPECT_EQ(bounded_duration(text).value(), 24h * 365) << text;
  }
  EXPECT_EQ(bounded_duration("90s").value(), 90s);
  EXPECT_FALSE(bounded_duration("soon"));
}

// What is dated after an order of the last moment that four digits have is read, too.
TEST(Time, GoesOnAfterTheYear9999) {
  const SysTime last = parse_iso8601("9999-12-31T23:59:59.999Z").value();
  EXPECT_EQ(format_iso8601(last + 1ms), "10000-01-01T00:00:00.000Z");
  EXPECT_EQ(parse_iso8601(format_iso8601(last + 1ms)).value(), last + 1ms);
}

TEST(SysNow, IsAfterThisWasWritten) { EXPECT_GT(sys_now(), SysTime(1'795'000'000'000ms)); }

}  // namespace
}  // namespace lb
