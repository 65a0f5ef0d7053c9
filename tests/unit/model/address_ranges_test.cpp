#include "model/address_ranges.h"

#include <gmock/gmock.h>

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

IpAddress ip_of(std::string_view text) { return IpAddress::parse(text).value(); }
AddressRanges ranges(std::initializer_list<std::string_view> texts) {
  AddressRanges out;
  for (const std::string_view text : texts) out.add(AddressRanges::parse(text).value());
  return out;
}
bool has(const AddressRanges& in, std::string_view address, bool of_host = false) {
  return in.contains(ip_of(address), of_host);
}

TEST(AddressRanges, HoldSingleAddressesAndPrefixes) {
  const AddressRanges some = ranges({"10.0.0.0/8", "192.0.2.7", "2001:db8::/33"});
  EXPECT_TRUE(has(some, "10.255.255.255"));
  EXPECT_TRUE(has(some, "192.0.2.7"));
  EXPECT_TRUE(has(some, "2001:db8:7fff::1"));
  for (const char* outside : {"11.0.0.0", "9.255.255.255", "192.0.2.6", "2001:db8:8000::1", "::1"})
    EXPECT_FALSE(has(some, outside, true)) << outside;
}

TEST(AddressRanges, OfOneFamilyHoldNoneOfTheOther) {
  EXPECT_FALSE(has(ranges({"::/0"}), "10.0.0.1"));
  EXPECT_TRUE(has(ranges({"::/0"}), "2001:db8::1"));
  EXPECT_FALSE(has(ranges({"0.0.0.0/0"}), "2001:db8::1"));
  EXPECT_TRUE(has(ranges({"0.0.0.0/0"}), "10.0.0.1"));
  EXPECT_TRUE(has(AddressRanges::all(), "10.0.0.1"));
  EXPECT_TRUE(has(AddressRanges::all(), "2001:db8::1"));
}

TEST(AddressRanges, WildcardsNameTheAddressesOfTheHost) {
  const AddressRanges four = ranges({"0.0.0.0"});
  EXPECT_TRUE(has(four, "10.0.0.1", true));
  EXPECT_FALSE(has(four, "10.0.0.1", false)) << "another host's";
  EXPECT_FALSE(has(four, "2001:db8::1", true));
  EXPECT_TRUE(has(ranges({"::"}), "10.0.0.1", true)) << "as a server that listens on it";
  EXPECT_TRUE(has(AddressRanges::this_host(), "2001:db8::1", true));
  EXPECT_FALSE(has(AddressRanges::this_host(), "2001:db8::1", false));
}

TEST(AddressRanges, NeverHoldAWildcard) {
  EXPECT_FALSE(has(AddressRanges::all(), "0.0.0.0", true));
  EXPECT_FALSE(has(AddressRanges::this_host(), "::", true));
}

TEST(AddressRanges, LoopbackIsAllOfIt) {
  EXPECT_TRUE(has(AddressRanges::loopback(), "127.255.0.9"));
  EXPECT_TRUE(has(AddressRanges::loopback(), "::1"));
  EXPECT_FALSE(has(AddressRanges::loopback(), "128.0.0.1"));
}

TEST(AddressRanges, HaveOneFormForOneMeaning) {
  EXPECT_EQ(ranges({"10.0.0.0/8", "10.1.0.0/16", "10.2.3.4"}), ranges({"10.0.0.0/8"}));
  EXPECT_EQ(ranges({"10.2.3.4", "10.0.0.0/8"}), ranges({"10.0.0.0/8"}));
  EXPECT_EQ(ranges({"10.0.0.1/32"}), ranges({"10.0.0.1"}));
  EXPECT_EQ(ranges({"0.0.0.0", "::"}), ranges({"::"}));
  EXPECT_THAT(ranges({"10.0.0.0/8", "0.0.0.0", "::1"}).texts(),
              ElementsAre("0.0.0.0", "::1", "10.0.0.0/8"));
}

TEST(AddressRanges, AreReadAgainFromTheirText) {
  for (const AddressRanges& each :
       {AddressRanges(), AddressRanges::all(), AddressRanges::loopback(),
        AddressRanges::this_host(), ranges({"0.0.0.0", "10.0.0.0/8", "fe80::1"})})
    EXPECT_EQ(AddressRanges::parse_list(each.to_string()).value(), each) << each.to_string();
}

TEST(AddressRanges, SayWhatIsWrong) {
  const auto error = [](std::string_view text) {
    const auto parsed = AddressRanges::parse(text);
    return parsed ? "taken" : parsed.error().message();
  };
  EXPECT_THAT(error("eth0"), HasSubstr("'eth0' is not an IP address"));
  EXPECT_THAT(error(""), HasSubstr("not an IP address"));
  EXPECT_EQ(error("10.0.0.0/33"), "'33' is not the length of a prefix, 0 to 32");
  EXPECT_EQ(error("2001:db8::/129"), "'129' is not the length of a prefix, 0 to 128");
  EXPECT_EQ(error("10.0.0.0/"), "'' is not the length of a prefix, 0 to 32");
  EXPECT_EQ(error("10.0.0.0/-1"), "'-1' is not the length of a prefix, 0 to 32");
  EXPECT_EQ(error("10.0.0.7/8"),
            "'10.0.0.7/8' is an address with the length of a network: write 10.0.0.7 or "
            "10.0.0.0/8");
}

}  // namespace
}  // namespace lb
