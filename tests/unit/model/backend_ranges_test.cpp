#include "model/backend_ranges.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

BackendRanges listed(std::initializer_list<std::string_view> prefixes) {
  BackendRanges out;
  for (const auto prefix : prefixes) EXPECT_TRUE(out.add(prefix)) << prefix;
  return out;
}

TEST(BackendRanges, UsuallyRefuseWhatMeansAnotherMachineWhereverItIsUsed) {
  const BackendRanges usual = BackendRanges::usual();
  for (const char* special :
       {"169.254.169.254", "169.254.0.0", "::ffff:169.254.1.1", "fe80::1", "febf::1", "224.0.0.1",
        "239.1.1.1", "ff02::1", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255"})
    EXPECT_NE(usual.why_refused(ip(special)), "") << special;
  for (const char* good : {"10.0.0.1", "127.0.0.1", "::1", "169.253.255.255", "169.255.0.0",
                           "fec0::1", "fd00::1", "2001:db8::1", "240.0.0.1"})
    EXPECT_EQ(usual.why_refused(ip(good)), "") << good;
  EXPECT_EQ(BackendRanges::any().why_refused(ip("169.254.169.254")), "");
}

TEST(BackendRanges, ThatAreListedAreAllThereIs) {
  const auto ranges = listed({"10.1.0.0/16", "169.254.7.0/24", "fd00::/8", "192.0.2.7"});
  for (const char* inside : {"10.1.0.0", "10.1.255.255", "169.254.7.9", "fdff::1", "192.0.2.7"})
    EXPECT_EQ(ranges.why_refused(ip(inside)), "") << inside;
  for (const char* outside :
       {"10.2.0.0", "10.0.255.255", "169.254.8.0", "fc00::1", "192.0.2.8", "127.0.0.1"})
    EXPECT_NE(ranges.why_refused(ip(outside)), "") << outside;
  EXPECT_EQ(ranges.texts(), (std::vector<std::string>{"10.1.0.0/16", "169.254.7.0/24",
                                                      "192.0.2.7/32", "fd00::/8"}));
}

TEST(BackendRanges, KeepTheFamiliesApart) {
  EXPECT_NE(listed({"::/0"}).why_refused(ip("10.0.0.1")), "");
  EXPECT_NE(listed({"0.0.0.0/0"}).why_refused(ip("2001:db8::1")), "");
  EXPECT_EQ(listed({"::/0"}).why_refused(ip("2001:db8::1")), "");
  EXPECT_EQ(listed({"0.0.0.0/0"}).why_refused(ip("10.0.0.1")), "");
}

TEST(BackendRanges, SayWhatIsNoPrefix) {
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "fd00::/129",
                          "host/8", "10.0.0.1/8", "fd00::1/8", "10.0.0.0/8/8"})
    EXPECT_FALSE(BackendRanges().add(bad)) << bad;
  EXPECT_NE(BackendRanges().add("10.0.0.1/8").error().message().find("10.0.0.0/8"),
            std::string::npos);
}

}  // namespace
}  // namespace lb
