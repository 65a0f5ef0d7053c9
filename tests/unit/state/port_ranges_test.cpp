#include "state/port_ranges.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

TEST(PortRanges, AllowEveryPortByDefault) {
  EXPECT_TRUE(PortRanges().contains(1));
  EXPECT_TRUE(PortRanges().contains(65535));
  EXPECT_EQ(PortRanges().to_string(), "1-65535");
  EXPECT_EQ(PortRanges(), PortRanges::parse("1-65535").value());
}

TEST(PortRanges, ContainTheirEnds) {
  const PortRanges ports = PortRanges::parse("80, 443,1000 - 2000").value();
  for (const int inside : {80, 443, 1000, 1500, 2000})
    EXPECT_TRUE(ports.contains(static_cast<Port>(inside)));
  for (const int outside : {1, 79, 81, 442, 444, 999, 2001, 65535})
    EXPECT_FALSE(ports.contains(static_cast<Port>(outside))) << outside;
}

TEST(PortRanges, AreJoinedAndSorted) {
  EXPECT_EQ(PortRanges::parse("443,80,81,82-90,85-100").value().to_string(), "80-100,443");
  EXPECT_EQ(PortRanges::parse("80-81").value(), PortRanges::parse("81,80").value());
  EXPECT_EQ(PortRanges::parse("65535,1-65534").value(), PortRanges());
}

struct BadRange {
  const char* text;
  const char* error;
};

class BadRanges : public testing::TestWithParam<BadRange> {};

TEST_P(BadRanges, AreRefusedWithTheReason) {
  const auto ports = PortRanges::parse(GetParam().text);
  ASSERT_FALSE(ports);
  EXPECT_EQ(ports.error().message(), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadRanges,
    testing::Values(BadRange{"", "'' is not a port between 1 and 65535"},
                    BadRange{"80,", "'' is not a port between 1 and 65535"},
                    BadRange{"http", "'http' is not a port between 1 and 65535"},
                    BadRange{"0-80", "'0' is not a port between 1 and 65535"},
                    BadRange{"1-65536", "'65536' is not a port between 1 and 65535"},
                    BadRange{"80-", "'' is not a port between 1 and 65535"},
                    BadRange{"-80", "'' is not a port between 1 and 65535"},
                    BadRange{"1-2-3", "'2-3' is not a port between 1 and 65535"},
                    BadRange{"90-80", "'90-80' runs backwards"}));

TEST(PortRanges, LeaveOneOut) {
  const auto without = [](std::string_view text, Port port) {
    PortRanges ranges = PortRanges::parse(text).value();
    ranges.exclude(port);
    return ranges.to_string();
  };
  EXPECT_EQ(without("1-65535", 7676), "1-7675,7677-65535");
  EXPECT_EQ(without("80,7676,9000-9001", 7676), "80,9000-9001");
  EXPECT_EQ(without("7676-7677", 7676), "7677");
  EXPECT_EQ(without("7670-7676", 7676), "7670-7675");
  EXPECT_EQ(without("80", 7676), "80");
  EXPECT_EQ(without("1-65535", 65535), "1-65534");
}

}  // namespace
}  // namespace lb
