#include "dataplane/ipvs_entry.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
Address at(std::string_view text) { return *Address::parse(text); }

const IpvsScope kAll{false,
                     [](const IpAddress& a) { return a.is_loopback() || a == ip("10.0.0.1"); }};
const IpvsScope kOutside{true, kAll.is_local};
constexpr std::uint32_t kMark = nft::kMarkBase | 7;

ProgrammedService service(std::string_view key, std::vector<std::string> addresses,
                          std::vector<std::string> backends) {
  ProgrammedService out;
  out.key = *ServiceKey::parse(key);
  for (const auto& a : addresses) out.addresses.push_back(ip(a));
  for (const auto& b : backends) out.backends.push_back({at(b), 1});
  return out;
}

IpvsEntry entry_of(const ProgrammedService& service) {
  IpvsEntry out;
  out.key = service.key;
  out.addresses = service.addresses;
  if (is_published(service.key)) out.mark = kMark;
  return out;
}

std::vector<std::string> names(const IpvsTarget& target) {
  std::vector<std::string> out;
  for (const auto& [id, servers] : target.servers) {
    std::string text = id.to_string() + ":";
    for (const auto& s : servers) text += fmt::format(" {}*{}", s.address.to_string(), s.weight);
    out.push_back(text);
  }
  return out;
}

TEST(IpvsEntry, TheAliasExistsWhereItHasBackends) {
  const auto v4 = service("127.0.0.1:80", {"::1", "127.0.0.1"}, {"10.0.0.2:80"});
  EXPECT_THAT(names(ipvs_target(v4, entry_of(v4), kAll)),
              ElementsAre("tcp://127.0.0.1:80: 10.0.0.2:80*1"));
  const auto both = service("127.0.0.1:80", {"::1", "127.0.0.1"}, {"10.0.0.2:80", "[fd00::2]:80"});
  const auto target = ipvs_target(both, entry_of(both), kAll);
  EXPECT_THAT(names(target), UnorderedElementsAre("tcp://127.0.0.1:80: 10.0.0.2:80*1",
                                                  "tcp://[::1]:80: [fd00::2]:80*1"));
  EXPECT_THAT(target.refused, IsEmpty());
  EXPECT_EQ(target.laundered.size(), 2U);
}

TEST(IpvsEntry, AnotherFamilyIsRefusedWithReason) {
  const auto web = service("127.0.0.1:80", {"127.0.0.1"}, {"10.0.0.2:80", "[fd00::2]:80"});
  const auto target = ipvs_target(web, entry_of(web), kAll);
  EXPECT_THAT(target.refused,
              ElementsAre(testing::Pair(at("[fd00::2]:80"),
                                        testing::HasSubstr("IPv6 backend of an IPv4 service"))));
}

TEST(IpvsEntry, WithoutLaunderingOnlyBackendsOfThisHostAreUsed) {
  const auto web =
      service("127.0.0.1:80", {"127.0.0.1"}, {"127.0.0.1:81", "10.0.0.1:80", "10.0.0.2:80"});
  auto entry = entry_of(web);
  entry.launder = false;
  const auto target = ipvs_target(web, entry, kAll);
  EXPECT_THAT(names(target), ElementsAre("tcp://127.0.0.1:80: 127.0.0.1:81*1 10.0.0.1:80*1"));
  EXPECT_THAT(target.refused, ElementsAre(testing::Key(at("10.0.0.2:80"))));
  EXPECT_THAT(target.laundered, IsEmpty());
}

TEST(IpvsEntry, APublishedServiceIsOneMarkPerFamilyWithoutLoopbackBackends) {
  const auto web =
      service("0.0.0.0:80", {"10.0.0.1", "127.0.0.1"}, {"10.0.0.2:80", "127.0.0.1:81"});
  const auto target = ipvs_target(web, entry_of(web), kAll);
  EXPECT_THAT(names(target), ElementsAre("fwmark 0x5a000007 IPv4: 10.0.0.2:80*1"));
  EXPECT_THAT(target.refused, ElementsAre(testing::Key(at("127.0.0.1:81"))));
  EXPECT_THAT(target.laundered, ElementsAre(*ServiceKey::parse("127.0.0.1:80")));
  EXPECT_THAT(ipvs_target(web, entry_of(web), kOutside).laundered, IsEmpty());
}

TEST(IpvsEntry, WhatRunsOutKeepsItsVirtualServicesAndLaunderingAtWeightZero) {
  const auto web = service("127.0.0.1:80", {"127.0.0.1"}, {"10.0.0.2:80"});
  auto entry = entry_of(web);
  auto target = ipvs_target(web, entry, kAll);
  entry.ids = {target.ids.begin(), target.ids.end()};
  entry.laundered = target.laundered;
  auto left = web;
  left.addresses.clear();
  target = ipvs_target(left, entry, kAll);
  EXPECT_THAT(names(target), ElementsAre("tcp://127.0.0.1:80: 10.0.0.2:80*0"));
  EXPECT_EQ(target.laundered, entry.laundered);
}

TEST(IpvsEntry, RulesMarkWhatIsPublishedAndLaunderWhatIsLocal) {
  std::map<ServiceKey, IpvsEntry> entries;
  const auto add = [&](const ProgrammedService& s, const IpvsScope& scope) {
    auto entry = entry_of(s);
    const auto target = ipvs_target(s, entry, scope);
    entry.ids = {target.ids.begin(), target.ids.end()};
    entry.laundered = target.laundered;
    entries[s.key] = entry;
  };
  const auto web = service("127.0.0.1:80", {"127.0.0.1"}, {"10.0.0.2:80"});
  const auto out =
      service("0.0.0.0:81", {"10.0.0.1", "127.0.0.1", "169.254.213.2", "fd00::1"}, {"10.0.0.2:80"});
  add(web, kAll);
  add(out, kAll);
  auto rules = ipvs_rules(entries, false, true);
  EXPECT_TRUE(rules.mark_local_clients);
  EXPECT_TRUE(rules.guard_forwarding);
  EXPECT_THAT(rules.laundered,
              ElementsAre(*ServiceKey::parse("127.0.0.1:80"), *ServiceKey::parse("127.0.0.1:81")));
  // No IPv6 backends, so no IPv6 mark; and never the launder address itself.
  EXPECT_THAT(rules.marks, ElementsAre(testing::Pair(*ServiceKey::parse("10.0.0.1:81"), kMark),
                                       testing::Pair(*ServiceKey::parse("127.0.0.1:81"), kMark)));
  entries.clear();
  add(out, kOutside);
  rules = ipvs_rules(entries, true, false);
  EXPECT_FALSE(rules.mark_local_clients);
  EXPECT_THAT(rules.laundered, IsEmpty());
  EXPECT_THAT(rules.marks, ElementsAre(testing::Pair(*ServiceKey::parse("10.0.0.1:81"), kMark)));
}

TEST(IpvsEntry, WhatIsWithheldFromOtherHostsIsMarkedForLocalClientsAlone) {
  const auto web = service("0.0.0.0:81", {"10.0.0.1", "127.0.0.1"}, {"10.0.0.2:80"});
  IpvsEntry entry = entry_of(web);
  entry.withheld = {ip("10.0.0.1")};
  const auto target = ipvs_target(web, entry, kAll);
  entry.ids = {target.ids.begin(), target.ids.end()};
  const auto rules = ipvs_rules({{web.key, entry}}, false, false);
  EXPECT_THAT(rules.marks, testing::SizeIs(2));
  EXPECT_THAT(rules.withheld, ElementsAre(*ServiceKey::parse("10.0.0.1:81")));
}

TEST(IpvsEntry, SchedulersFollowBalance) {
  const auto id = ipvs::ServiceId::of(*ServiceKey::parse("127.0.0.1:80"));
  const auto scheduler = [&](Balance b) { return virtual_service(id, b).scheduler; };
  EXPECT_EQ(scheduler(Balance::LeastConn), "wlc");
  EXPECT_EQ(scheduler(Balance::P2c), "wlc");
  EXPECT_EQ(scheduler(Balance::RoundRobin), "wrr");
  EXPECT_EQ(scheduler(Balance::Random), "wrr");
  EXPECT_EQ(scheduler(Balance::SourceHash), "mh");
}

}  // namespace
}  // namespace lb
