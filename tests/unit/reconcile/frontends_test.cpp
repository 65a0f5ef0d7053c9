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
