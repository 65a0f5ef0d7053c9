#include "model/address.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

struct IpCase {
  const char* text;
  const char* canonical;
  bool v4, loopback, unspecified;
};

class Ip : public testing::TestWithParam<IpCase> {};

TEST_P(Ip, IsReadWrittenAndJudged) {
  const auto& c = GetParam();
  const auto ip = IpAddress::parse(c.text);
  ASSERT_TRUE(ip) << ip.error().message();
  EXPECT_EQ(ip->to_string(), c.canonical);
  EXPECT_EQ(IpAddress::parse(ip->to_string()).value(), *ip);
  EXPECT_EQ(ip->is_v4(), c.v4);
  EXPECT_EQ(ip->is_loopback(), c.loopback);
  EXPECT_EQ(ip->is_unspecified(), c.unspecified);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Ip,
    testing::Values(IpCase{"10.0.0.1", "10.0.0.1", true, false, false},
                    IpCase{"127.0.0.1", "127.0.0.1", true, true, false},
                    IpCase{"127.255.255.254", "127.255.255.254", true, true, false},
                    // A mask test with 0x7f would take this for loopback.
                    IpCase{"255.0.0.1", "255.0.0.1", true, false, false},
                    IpCase{"0.0.0.0", "0.0.0.0", true, false, true},
                    IpCase{"::", "::", false, false, true},
                    IpCase{"::1", "::1", false, true, false},
                    IpCase{"::2", "::2", false, false, false},
                    IpCase{"::ffff:127.0.0.1", "127.0.0.1", true, true, false},
                    IpCase{"::ffff:0.0.0.0", "0.0.0.0", true, false, true},
                    IpCase{"2001:DB8:0::1", "2001:db8::1", false, false, false}));

class BadIp : public testing::TestWithParam<std::string> {};

TEST_P(BadIp, IsRefused) {
  const auto ip = IpAddress::parse(GetParam());
  ASSERT_FALSE(ip) << ip->to_string();
  EXPECT_EQ(ip.error().message(), "'" + GetParam() + "' is not an IP address");
}

INSTANTIATE_TEST_SUITE_P(Cases, BadIp,
                         testing::Values("", "localhost", "10.0.0", "10.0.0.256", "010.0.0.1",
                                         "10.0.0.1 ", "[::1]", "::1%lo", "1:2", "0x7f.1",
                                         std::string("10.0.0.1\0.evil", 14),
                                         std::string("::1\0", 4)));

TEST(IpAddressTest, V4IsInHostOrder) {
  EXPECT_EQ(IpAddress::v4(0x0a000001).to_string(), "10.0.0.1");
}

TEST(IpAddressTest, SortsByNumber) {
  EXPECT_LT(IpAddress::parse("10.0.0.2").value(), IpAddress::parse("10.0.0.10").value());
  EXPECT_LT(IpAddress::parse("::1").value(), IpAddress::parse("10.0.0.1").value());
}

TEST(AddressTest, IsReadAndWritten) {
  for (const char* text : {"10.0.0.1:80", "[::1]:65535", "127.0.0.1:1"})
    EXPECT_EQ(Address::parse(text).value().to_string(), text);
  EXPECT_EQ(Address::parse("[::ffff:10.0.0.1]:80").value().to_string(), "10.0.0.1:80");
}

struct BadAddressCase {
  const char* text;
  const char* error;
};

class BadAddress : public testing::TestWithParam<BadAddressCase> {};

TEST_P(BadAddress, IsRefusedWithTheReason) {
  const auto address = Address::parse(GetParam().text);
  ASSERT_FALSE(address);
  EXPECT_EQ(address.error().message(), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadAddress,
    testing::Values(
        BadAddressCase{"", "'' is not of the form address:port"},
        BadAddressCase{"10.0.0.1", "'10.0.0.1' is not of the form address:port"},
        BadAddressCase{":80", "':80' is not of the form address:port"},
        BadAddressCase{"10.0.0.1:", "'10.0.0.1:' has no port between 1 and 65535"},
        BadAddressCase{"10.0.0.1:0", "'10.0.0.1:0' has no port between 1 and 65535"},
        BadAddressCase{"10.0.0.1:65536", "'10.0.0.1:65536' has no port between 1 and 65535"},
        BadAddressCase{"10.0.0.1:-1", "'10.0.0.1:-1' has no port between 1 and 65535"},
        BadAddressCase{"10.0.0.1:8x", "'10.0.0.1:8x' has no port between 1 and 65535"},
        BadAddressCase{"::1:80", "'::1:80': write an IPv6 address in brackets, [::1]:80"},
        BadAddressCase{"host:80", "'host' is not an IP address"},
        BadAddressCase{"[]:80", "'[]' is not an IP address"}));

TEST(HostPortTest, TakesNamesAndAddresses) {
  EXPECT_EQ(HostPort::parse("db.example.com:5432").value(), (HostPort{"db.example.com", 5432}));
  EXPECT_EQ(HostPort::parse("[2001:db8::1]:80").value(), (HostPort{"2001:db8::1", 80}));
}

}  // namespace
}  // namespace lb
