#include "reconcile/frontends.h"

#include <gtest/gtest.h>

#include "support/desired_builder.h"

namespace lb {
namespace {

const std::vector<IpAddress> kLocal{ip("127.0.0.1"), ip("10.0.0.1"), ip("::1"), ip("2001:db8::1")};

struct FrontendsCase {
  std::string name;
  std::vector<std::string> services;
  std::string of;
  std::vector<std::string> addresses;
};

class Frontends : public testing::TestWithParam<FrontendsCase> {};

TEST_P(Frontends, AreWhatTheMostSpecificClaimLeaves) {
  const FrontendsCase& c = GetParam();
  std::vector<DesiredService> services;
  for (const std::string& s : c.services) services.push_back(service(s));
  std::vector<IpAddress> expected;
  for (const std::string& a : c.addresses) expected.push_back(ip(a));
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(frontend_addresses(key(c.of), state(services), kLocal), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Frontends,
    testing::Values(
        FrontendsCase{
            "loopback_has_its_alias", {"127.0.0.1:80"}, "127.0.0.1:80", {"127.0.0.1", "::1"}},
        FrontendsCase{"mapped_loopback_is_loopback",
                      {"[::ffff:127.0.0.1]:80"},
                      "127.0.0.1:80",
                      {"127.0.0.1", "::1"}},
        FrontendsCase{"explicit_v6_loopback_wins",
                      {"127.0.0.1:80", "[::1]:80"},
                      "127.0.0.1:80",
                      {"127.0.0.1"}},
        FrontendsCase{
            "explicit_v6_loopback_is_only_that", {"127.0.0.1:80", "[::1]:80"}, "[::1]:80", {"::1"}},
        FrontendsCase{"another_port_does_not_matter",
                      {"127.0.0.1:80", "[::1]:81"},
                      "127.0.0.1:80",
                      {"127.0.0.1", "::1"}},
        FrontendsCase{"another_protocol_does_not_matter",
                      {"127.0.0.1:80", "udp://[::1]:80"},
                      "127.0.0.1:80",
                      {"127.0.0.1", "::1"}},
        FrontendsCase{"host_address_is_itself", {"10.0.0.1:80"}, "10.0.0.1:80", {"10.0.0.1"}},
        FrontendsCase{"other_loopback_is_itself", {"127.0.0.5:80"}, "127.0.0.5:80", {"127.0.0.5"}},
        FrontendsCase{"any_v4", {"0.0.0.0:80"}, "0.0.0.0:80", {"127.0.0.1", "::1", "10.0.0.1"}},
        FrontendsCase{
            "any_v6", {"[::]:80"}, "[::]:80", {"127.0.0.1", "::1", "10.0.0.1", "2001:db8::1"}},
        FrontendsCase{"any_v4_without_a_claimed_address",
                      {"0.0.0.0:80", "10.0.0.1:80"},
                      "0.0.0.0:80",
                      {"127.0.0.1", "::1"}},
        FrontendsCase{"any_v4_without_claimed_loopback",
                      {"0.0.0.0:80", "127.0.0.1:80"},
                      "0.0.0.0:80",
                      {"10.0.0.1"}},
        FrontendsCase{"any_v4_without_claimed_v6_loopback",
                      {"0.0.0.0:80", "[::1]:80"},
                      "0.0.0.0:80",
                      {"127.0.0.1", "10.0.0.1"}},
        FrontendsCase{"any_v6_beside_loopback",
                      {"[::]:80", "127.0.0.1:80"},
                      "[::]:80",
                      {"10.0.0.1", "2001:db8::1"}},
        FrontendsCase{"loopback_beside_any_v6",
                      {"[::]:80", "127.0.0.1:80"},
                      "127.0.0.1:80",
                      {"127.0.0.1", "::1"}},
        FrontendsCase{
            "both_wildcards_v6", {"[::]:80", "0.0.0.0:80"}, "[::]:80", {"::1", "2001:db8::1"}},
        FrontendsCase{"both_wildcards_v4",
                      {"[::]:80", "0.0.0.0:80"},
                      "0.0.0.0:80",
                      {"127.0.0.1", "10.0.0.1"}},
        FrontendsCase{"absent", {}, "127.0.0.1:80", {}}),
    [](const auto& c) { return c.param.name; });

TEST(FrontendsOf, ServiceThatLeftItsSourceAreNone) {
  DesiredService gone = service("[::1]:80");
  gone.removed = true;
  const DesiredState desired = state({service("127.0.0.1:80"), gone});
  EXPECT_TRUE(frontend_addresses(key("[::1]:80"), desired, kLocal).empty());
  EXPECT_EQ(frontend_addresses(key("127.0.0.1:80"), desired, kLocal).size(), 2U);
}

TEST(FrontendsOf, RefusedServiceAreNone) {
  DesiredService refused = service("127.0.0.1:22");
  refused.condition = Condition::Refused;
  EXPECT_TRUE(frontend_addresses(refused.key, state({refused}), kLocal).empty());
}

DesiredService with_reach(std::string_view at, AddressRanges claims, AddressRanges publish = {}) {
  DesiredService out = service(at);
  Reach reach;
  reach.of_host = false;
  reach.claims = std::move(claims);
  reach.publish = std::move(publish);
  out.reach = std::make_shared<const Reach>(std::move(reach));
  return out;
}

AddressRanges only(std::string_view list) { return AddressRanges::parse_list(list).value(); }

std::vector<std::string> texts(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> out;
  for (const IpAddress& a : addresses) out.push_back(a.to_string());
  return out;
}
using Texts = std::vector<std::string>;

TEST(FrontendsOf, AWildcardAreThoseThatItsSourceMayHave) {
  const auto of = [](std::string_view at, const char* claims) {
    return texts(frontend_addresses(key(at), state({with_reach(at, only(claims))}), kLocal));
  };
  EXPECT_EQ(of("0.0.0.0:80", "::1, 127.0.0.0/8"), (Texts{"::1", "127.0.0.1"}));
  EXPECT_EQ(of("[::]:80", "::1, 127.0.0.0/8"), (Texts{"::1", "127.0.0.1"}));
  EXPECT_EQ(of("0.0.0.0:80", "127.0.0.1"), (Texts{"::1", "127.0.0.1"})) << "with its alias";
  EXPECT_EQ(of("0.0.0.0:80", "10.0.0.0/8"), (Texts{"10.0.0.1"}));
  EXPECT_EQ(of("[::]:80", "10.0.0.0/8, 2001:db8::1"), (Texts{"10.0.0.1", "2001:db8::1"}));
  EXPECT_EQ(of("0.0.0.0:80", "192.0.2.1"), Texts{}) << "which the host has not";
  EXPECT_EQ(of("0.0.0.0:80", "0.0.0.0"), (Texts{"::1", "10.0.0.1", "127.0.0.1"}));
}

TEST(FrontendsOf, AnotherWildcardAreWhatANarrowedOneLeaves) {
  const DesiredState desired =
      state({with_reach("0.0.0.0:80", only("::1, 127.0.0.0/8")), service("[::]:80")});
  EXPECT_EQ(texts(frontend_addresses(key("[::]:80"), desired, kLocal)),
            (Texts{"::1", "10.0.0.1", "2001:db8::1"}));
}

TEST(FrontendsOf, NoServiceAreWhereLbdItselfConnects) {
  for (const char* at : {"0.0.0.0:80", "[::]:80", "127.0.0.1:80"}) {
    DesiredService web = service(at);
    Reach reach;
    reach.endpoints = {{addr("[::1]:80"), "an updater"}, {addr("10.0.0.1:80"), "etcd"}};
    web.reach = std::make_shared<const Reach>(reach);
    for (const IpAddress& a : frontend_addresses(key(at), state({web}), kLocal)) {
      EXPECT_NE(a, ip("::1")) << at;
      EXPECT_NE(a, ip("10.0.0.1")) << at;
    }
  }
}

const HostView kHost{[] {
                       auto out = kLocal;
                       std::sort(out.begin(), out.end());
                       return out;
                     }(),
                     true};

Texts withheld(const DesiredService& s) {
  return texts(withheld_addresses(s, frontend_addresses(s.key, state({s}), kLocal), kHost));
}
std::string local_only(const DesiredService& s) { return why_local_only(s, state({s}), kHost); }

TEST(Publication, IsWhereTheHostSaysAndNowhereElse) {
  const AddressRanges host = AddressRanges::this_host();
  EXPECT_EQ(withheld(with_reach("10.0.0.1:80", host, only("10.0.0.2"))), Texts{"10.0.0.1"});
  EXPECT_EQ(withheld(with_reach("10.0.0.1:80", host, only("10.0.0.1"))), Texts{});
  EXPECT_EQ(withheld(with_reach("10.0.0.1:80", host, host)), Texts{});
  EXPECT_EQ(withheld(with_reach("127.0.0.1:80", host)), Texts{}) << "is for nobody outside anyway";
  EXPECT_EQ(withheld(with_reach("[::]:80", host, only("10.0.0.1"))), Texts{"2001:db8::1"});
  EXPECT_EQ(withheld(with_reach("192.0.2.1:80", only("192.0.2.1"), host)), Texts{"192.0.2.1"})
      << "a virtual address is for local clients";
}

TEST(Publication, ThatIsNotAllowedMakesTheServiceLocalOnly) {
  const AddressRanges host = AddressRanges::this_host();
  EXPECT_EQ(local_only(with_reach("10.0.0.1:80", host)),
            "10.0.0.1 is not among the addresses of [publish]: addresses = [\"10.0.0.1\"] there "
            "would let clients of other hosts in");
  EXPECT_NE(local_only(with_reach("0.0.0.0:80", AddressRanges::loopback())), "");
  EXPECT_NE(local_only(with_reach("[::]:80", host)), "");
  EXPECT_EQ(local_only(with_reach("[::]:80", host, only("10.0.0.1"))), "") << "served there";
  EXPECT_EQ(local_only(with_reach("127.0.0.1:80", host)), "");
  EXPECT_EQ(local_only(with_reach("192.0.2.1:80", only("192.0.2.1"))), "") << "as it was meant";
  EXPECT_EQ(local_only(service("0.0.0.0:80")), "");
  const HostView bare{{ip("127.0.0.1"), ip("::1")}, true};
  EXPECT_NE(why_local_only(with_reach("0.0.0.0:80", AddressRanges::loopback()), {}, bare), "");
  EXPECT_EQ(why_local_only(with_reach("0.0.0.0:80", host, host), {}, bare), "")
      << "the host has no other address, which is nobody's decision";
}

TEST(FrontendsOf, EveryWildcardAreDisjoint) {
  const DesiredState desired =
      state({service("[::]:80"), service("0.0.0.0:80"), service("127.0.0.1:80"),
             service("[::1]:80"), service("10.0.0.1:80")});
  std::vector<IpAddress> all;
  for (const auto& [k, s] : desired)
    for (const IpAddress& a : frontend_addresses(k, desired, kLocal)) all.push_back(a);
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_EQ(all.size(), 4U);
}

TEST(WithoutBlocked, AliasGoesWithItsAddress) {
  const std::vector<IpAddress> both{ip("::1"), ip("127.0.0.1")};
  EXPECT_TRUE(without_blocked(key("127.0.0.1:80"), both, {ip("127.0.0.1")}).empty());
  EXPECT_EQ(without_blocked(key("127.0.0.1:80"), both, {ip("::1")}),
            std::vector<IpAddress>{ip("127.0.0.1")});
  EXPECT_EQ(without_blocked(key("[::]:80"), both, {ip("127.0.0.1")}),
            std::vector<IpAddress>{ip("::1")});
}

// Property: whatever comes or goes, only the dependents' addresses change.
TEST(Dependents, AreAllWhoseAddressesCanChange) {
  const std::vector<std::string> names{"[::]:80",  "0.0.0.0:80",  "127.0.0.1:80",
                                       "[::1]:80", "10.0.0.1:80", "[2001:db8::1]:80"};
  for (unsigned set = 0; set < 1U << names.size(); ++set)
    for (std::size_t toggled = 0; toggled < names.size(); ++toggled) {
      std::vector<DesiredService> with;
      std::vector<DesiredService> without;
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (i == toggled || (set >> i & 1U) != 0) with.push_back(service(names[i]));
        if (i != toggled && (set >> i & 1U) != 0) without.push_back(service(names[i]));
      }
      const auto affected = dependents(key(names[toggled]));
      for (const std::string& name : names) {
        const ServiceKey k = key(name);
        if (std::find(affected.begin(), affected.end(), k) != affected.end()) continue;
        EXPECT_EQ(frontend_addresses(k, state(with), kLocal),
                  frontend_addresses(k, state(without), kLocal))
            << name << " when " << names[toggled] << " comes";
      }
    }
}

}  // namespace
}  // namespace lb
