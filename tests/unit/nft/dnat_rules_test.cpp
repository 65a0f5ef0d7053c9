// Rules as text. What they do to packets is shown in tests/netns/nft.
#include "nft/dnat_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::nft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

ProgrammedService service(std::string_view key, const std::vector<std::string>& addresses,
                          const std::vector<std::pair<std::string, std::uint32_t>>& backends,
                          Balance balance = Balance::Random) {
  ProgrammedService out;
  out.key = ServiceKey::parse(key).value();
  out.balance = balance;
  for (const std::string& each : addresses) out.addresses.push_back(IpAddress::parse(each).value());
  for (const auto& [at, weight] : backends)
    out.backends.push_back({Address::parse(at).value(), weight});
  return out;
}

DnatServices all(const std::vector<ProgrammedService>& services) {
  DnatServices out;
  for (const ProgrammedService& each : services) out.emplace(each.key, each);
  return out;
}

std::string rendered(const std::vector<ProgrammedService>& services) {
  return DnatTable("lbd").replace(all(services), false);
}

TEST(DnatRules, SendsEachFrontendToTheServicesChain) {
  const std::string text = rendered(
      {service("0.0.0.0:80", {"10.0.0.1", "10.0.0.2", "127.0.0.1"}, {{"10.0.0.9:8080", 1}})});
  EXPECT_THAT(text, HasSubstr("10.0.0.1 . tcp . 80 : goto tcp-0.0.0.0-80"));
  EXPECT_THAT(text, HasSubstr("10.0.0.2 . tcp . 80 : goto tcp-0.0.0.0-80"));
  EXPECT_THAT(text, Not(HasSubstr("127.0.0.1 . tcp")));
  EXPECT_THAT(text,
              HasSubstr("add rule ip lbd tcp-0.0.0.0-80 meta l4proto tcp dnat to 10.0.0.9:8080"));
}

TEST(DnatRules, NamesChainsOfIpv6WithoutColons) {
  const std::string text =
      rendered({service("udp://[fd00::1]:53", {"fd00::1"}, {{"[fd00::9]:53", 1}})});
  EXPECT_THAT(text, HasSubstr("fd00::1 . udp . 53 : goto udp-fd00__1-53"));
  EXPECT_THAT(text,
              HasSubstr("add rule ip6 lbd udp-fd00__1-53 meta l4proto udp dnat to [fd00::9]:53"));
}

TEST(DnatRules, TakesEachBackendWithItsShareOfWhatIsLeft) {
  const std::string text = rendered({service(
      "10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.7:80", 3}, {"10.0.0.8:80", 2}, {"10.0.0.9:80", 5}})});
  EXPECT_THAT(text, HasSubstr("numgen random mod 10 < 3 dnat to 10.0.0.7:80"));
  EXPECT_THAT(text, HasSubstr("numgen random mod 7 < 2 dnat to 10.0.0.8:80"));
  EXPECT_THAT(text, HasSubstr("tcp dnat to 10.0.0.9:80"));
}

TEST(DnatRules, KeepsMostClientsWhereTheyAreWhenABackendLeaves) {
  const auto with = [](const std::vector<std::pair<std::string, std::uint32_t>>& backends) {
    return rendered({service("10.0.0.1:80", {"10.0.0.1"}, backends, Balance::SourceHash)});
  };
  const std::string three = with({{"10.0.0.7:80", 1}, {"10.0.0.8:80", 1}, {"10.0.0.9:80", 1}});
  EXPECT_THAT(three, HasSubstr("< 21845 dnat to 10.0.0.7:80"));
  EXPECT_THAT(three, HasSubstr("< 32768 dnat to 10.0.0.8:80"));
  // The seed is the backend's own, so that the clients below the old threshold are below the new one.
  const auto seed = [](const std::string& text) { return text.substr(text.find("seed 0x"), 15); };
  const std::string two = with({{"10.0.0.7:80", 1}, {"10.0.0.9:80", 1}});
  EXPECT_EQ(seed(two), seed(three));
  EXPECT_THAT(two, HasSubstr("< 32768 dnat to 10.0.0.7:80"));
}

TEST(DnatRules, RefusesWhereNoBackendTakesAnything) {
  EXPECT_THAT(
      rendered({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.9:80", 0}, {"127.0.0.1:80", 1}})}),
      HasSubstr("tcp-10.0.0.1-80 meta l4proto tcp reject with tcp reset"));
  EXPECT_THAT(rendered({service("udp://10.0.0.1:80", {"10.0.0.1"}, {})}),
              HasSubstr("udp-10.0.0.1-80 reject\n"));
}

// A proxy that had the port before may have connections open: also where no backend takes any.
TEST(DnatRules, LeavesConnectionsOfThisHostsSocketsAloneAlsoWithoutBackends) {
  const auto services = all({service("10.0.0.1:80", {"10.0.0.1"}, {})});
  EXPECT_THAT(DnatTable("lbd").replace(services, false),
              HasSubstr("!= syn socket transparent <= 1 accept"));
  EXPECT_THAT(DnatTable("lbd", false).replace(services, false),
              AllOf(HasSubstr("!= syn accept"), Not(HasSubstr("socket"))));
}

TEST(DnatRules, SaysNothingOfFamiliesWhereNoOutsideClientCanCome) {
  const Address backend = *Address::parse("10.0.0.2:80");
  EXPECT_EQ(refusal({*IpAddress::parse("127.0.0.1"), *IpAddress::parse("::1")}, backend), "");
  EXPECT_THAT(refusal({*IpAddress::parse("fd00::1")}, backend), HasSubstr("IPv6"));
}

TEST(DnatRules, MakesNoTableWithoutServices) {
  EXPECT_THAT(rendered({}), Not(HasSubstr("chain")));
  EXPECT_THAT(rendered({}), HasSubstr("delete table ip6 lbd"));
}

TEST(DnatRules, ChangesTheChainAloneWhenAWeightChanges) {
  const auto before =
      all({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.8:80", 1}, {"10.0.0.9:80", 1}})});
  const auto after =
      all({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.8:80", 1}, {"10.0.0.9:80", 0}})});
  DnatTable table("lbd");
  (void)table.replace(before, false);
  EXPECT_EQ(
      table.change(before, after),
      "add chain ip lbd tcp-10.0.0.1-80\nflush chain ip lbd tcp-10.0.0.1-80\n"
      "add rule ip lbd tcp-10.0.0.1-80 tcp flags & (fin | syn | rst | ack) != syn "
      "socket transparent <= 1 accept\n"
      "add rule ip lbd tcp-10.0.0.1-80 tcp flags & (fin | syn | rst | ack) != syn reject with "
      "tcp reset\n"
      "add rule ip lbd tcp-10.0.0.1-80 meta l4proto tcp dnat to 10.0.0.8:80\n");
}

TEST(DnatRules, ChangesNothingWhereNothingDiffers) {
  const auto same = all({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.8:80", 1}})});
  DnatTable table("lbd");
  (void)table.replace(same, false);
  EXPECT_EQ(table.change(same, same), "");
}

TEST(DnatRules, KeepsWhatAnotherServiceStillNeeds) {
  const auto first = all({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.9:80", 1}})});
  const auto second = all({service("10.0.0.2:80", {"10.0.0.2"}, {{"10.0.0.9:80", 1}})});
  auto both = first;
  both.insert(second.begin(), second.end());
  DnatTable table("lbd");
  (void)table.replace(both, false);
  const std::string one_gone = table.change(first, {});
  EXPECT_THAT(one_gone, Not(HasSubstr("targets")));
  EXPECT_THAT(one_gone, HasSubstr("delete chain ip lbd tcp-10.0.0.1-80"));
  EXPECT_THAT(table.change(second, {}),
              HasSubstr("delete element ip lbd targets {\n10.0.0.9 . tcp . 80\n}"));
}

TEST(DnatRules, GivesAnAddressFromOneServiceToAnotherInOneGo) {
  const auto before = all({service("10.0.0.1:80", {"10.0.0.1"}, {{"10.0.0.9:80", 1}})});
  const auto after = all({service("0.0.0.0:80", {"10.0.0.1"}, {{"10.0.0.9:80", 1}})});
  DnatTable table("lbd");
  (void)table.replace(before, false);
  const std::string text = table.change(before, after);
  EXPECT_LT(text.find("delete element ip lbd services"), text.find("add element ip lbd services"));
  EXPECT_LT(text.find("add chain ip lbd tcp-0.0.0.0-80"), text.find("add element ip lbd services"));
  EXPECT_LT(text.find("add element ip lbd services"),
            text.find("delete chain ip lbd tcp-10.0.0.1-80"));
}

TEST(DnatRules, SaysWhyABackendCannotBeReachedFromOutside) {
  const std::vector<IpAddress> v4{IpAddress::parse("10.0.0.1").value()};
  EXPECT_EQ(refusal(v4, Address::parse("10.0.0.9:80").value()), "");
  EXPECT_THAT(refusal(v4, Address::parse("127.0.0.1:80").value()), HasSubstr("loopback"));
  EXPECT_THAT(refusal(v4, Address::parse("[::1]:80").value()), HasSubstr("loopback"));
  EXPECT_THAT(refusal(v4, Address::parse("[fd00::9]:80").value()), HasSubstr("IPv6"));
  EXPECT_EQ(refusal({}, Address::parse("[fd00::9]:80").value()), "") << "it is not told for whom";
}

}  // namespace
}  // namespace lb::nft
