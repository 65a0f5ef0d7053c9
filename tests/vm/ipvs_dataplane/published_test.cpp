// Services on addresses that other hosts can reach, and that nothing else becomes reachable by them.
#include <gmock/gmock.h>

#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using testing::HasSubstr;

constexpr auto kForwarding = "net/ipv4/conf/eth0/forwarding";
constexpr auto kForwarding6 = "net/ipv6/conf/all/forwarding";
const Asking kNoAnswer{.bind_to = {}, .limit = kBrief};

using IpvsPublished = IpvsVm;

TEST_F(IpvsPublished, ClientsOfOtherHostsAndLocalOnesAreServed) {
  const std::vector<std::string> v4{kHost, kNear, kSecond}, v6{kHost6, kNear6, kSecond6};
  serve(service("any", "0.0.0.0:8090", v4) + service("any6", "[::]:8091", v6) +
        service("dns", "udp://0.0.0.0:8090", v4) + service("dns6", "udp://[::]:8091", v6) +
        service("one", "10.9.0.1:8092", v4));
  // A host's own backend sees who asks; to others it is we who ask.
  const Answers outside{{"host 10.9.0.100", 2}, {"near 10.9.0.1", 2}, {"second 10.8.0.1", 2}};
  const Answers outside6{{"host fd09::100", 2}, {"near fd09::1", 2}, {"second fd08::1", 2}};
  for (const Ask ask : {ask_tcp, ask_udp, ask_udp_unconnected}) {
    EXPECT_EQ(ask_from(network_->client, 6, "10.9.0.1:8090", ask), outside);
    EXPECT_EQ(ask_from(network_->client, 6, "[fd09::1]:8091", ask), outside6);
  }
  EXPECT_EQ(ask_from(network_->client, 6, "10.9.0.1:8092"), outside);
  for (const char* to :
       {"127.0.0.1:8090", "10.9.0.1:8090", "10.8.0.1:8090", "[::1]:8091", "[fd09::1]:8091"})
    for (const Ask ask : {ask_tcp, ask_udp}) {
      const Answers answers = ask_times(3, to, ask);
      EXPECT_EQ(answers.size(), 3U) << to << testing::PrintToString(answers);
      for (const auto& [answer, times] : answers)
        EXPECT_THAT(answer, testing::ContainsRegex("^(host|near|second) ")) << to;
    }
  EXPECT_EQ(ask_times(3, "10.9.0.1:8092").size(), 3U);
}

TEST_F(IpvsPublished, BackendsOnLoopbackAddressesAreRefusedWithAReason) {
  serve(service("any", "0.0.0.0:8090", {kLocal, kHost}));
  EXPECT_EQ(ask_from(network_->client, 2, "10.9.0.1:8090"), (Answers{{"host 10.9.0.100", 2}}));
  EXPECT_EQ(lbd_->backend("any", kLocal).reason, "unsupported");
  EXPECT_THAT(notes(), HasSubstr("127.0.0.1:9000 is not used: clients from outside"));
}

TEST_F(IpvsPublished, ForwardingIsSwitchedOnOnlyWhereItIsNeededAndDetachPutsItBack) {
  const std::string v4 = sysctl(kForwarding), v6 = sysctl(kForwarding6);
  ASSERT_EQ(v4 + v6, "00");
  serve(service("inside", "127.0.0.1:8080", {kNear}) + service("here", "0.0.0.0:8090", {kHost}));
  EXPECT_EQ(sysctl(kForwarding) + sysctl(kForwarding6), "00");
  change(service("inside", "127.0.0.1:8080", {kNear}) +
         service("here", "0.0.0.0:8090", {kHost, kNear}));
  EXPECT_EQ(sysctl(kForwarding) + sysctl(kForwarding6), "10");
  EXPECT_EQ(sysctl("net/ipv4/ip_forward"), "0");
  change(service("here", "0.0.0.0:8090", {kHost, kNear}) + service("six", "[::]:8091", {kNear6}));
  EXPECT_EQ(sysctl(kForwarding) + sysctl(kForwarding6), "11");
  EXPECT_EQ(sysctl("net/ipv4/vs/conntrack"), "1");
  detach();
  EXPECT_EQ(sysctl(kForwarding) + sysctl(kForwarding6), "00");
  EXPECT_EQ(sysctl("net/ipv4/vs/conntrack"), "0");
  EXPECT_EQ(ipvs(), "");
}

// Forwarding is on for the answers' sake; we must not have become a router by it.
TEST_F(IpvsPublished, NobodyIsForwardedThroughUs) {
  for (const char* route : {"10.8.0.0/24 via 10.9.0.1", "fd08::/64 via fd09::1"})
    network_->client.run({"sh", "-c", std::string("ip route add ") + route});
  set_sysctl("net/ipv4/ip_forward", "1");
  set_sysctl(kForwarding6, "1");
  ASSERT_EQ(ask_from(network_->client, 1, kSecond), (Answers{{"second 10.9.0.100", 1}}));
  ASSERT_EQ(ask_from(network_->client, 1, kSecond6), (Answers{{"second fd09::100", 1}}));
  set_sysctl("net/ipv4/ip_forward", "0");
  set_sysctl(kForwarding6, "0");
  serve(service("any", "0.0.0.0:8090", {kSecond}) + service("any6", "[::]:8091", {kSecond6}));
  EXPECT_EQ(ask_from(network_->client, 1, "10.9.0.1:8090"), (Answers{{"second 10.8.0.1", 1}}));
  EXPECT_EQ(ask_from(network_->client, 1, "[fd09::1]:8091"), (Answers{{"second fd08::1", 1}}));
  EXPECT_EQ(ask_from(network_->client, 1, kSecond, ask_tcp, kNoAnswer), (Answers{{"timeout", 1}}));
  EXPECT_EQ(ask_from(network_->client, 1, kSecond6, ask_tcp, kNoAnswer), (Answers{{"timeout", 1}}));
}

// Whoever forwarded before lbd came goes on.
TEST_F(IpvsPublished, AHostThatIsARouterStaysOne) {
  network_->client.run({"ip", "route", "add", "10.8.0.0/24", "via", "10.9.0.1"});
  set_sysctl("net/ipv4/ip_forward", "1");
  serve(service("any", "0.0.0.0:8090", {kNear}));
  EXPECT_EQ(ask_from(network_->client, 1, kSecond), (Answers{{"second 10.9.0.100", 1}}));
  EXPECT_EQ(ask_from(network_->client, 1, "10.9.0.1:8090"), (Answers{{"near 10.9.0.1", 1}}));
}

TEST_F(IpvsPublished, AFirewallThatForwardsNothingStopsAnswersAndLocalClientsOnlyGoOn) {
  add_rules(
      "table ip filter {\n chain FORWARD { type filter hook forward priority filter; policy drop; "
      "}\n}");
  serve(service("any", "0.0.0.0:8090", {kNear}));
  EXPECT_EQ(ask_from(network_->client, 1, "10.9.0.1:8090", ask_tcp, kNoAnswer),
            (Answers{{"timeout", 1}}));
  EXPECT_EQ(ask_tcp("127.0.0.1:8090"), "near 10.9.0.1");
  EXPECT_EQ(ask_tcp("10.9.0.1:8090"), "near 10.9.0.1");
  EXPECT_THAT(lbd_->ctl({"doctor"}).out, HasSubstr("dropped by policy in ip filter FORWARD"));
}

// The client sends to 127.0.0.1 over the wire, as an attacker would, and the host takes what comes so.
TEST_F(IpvsPublished, LoopbackServicesStayInsideEvenWhereTheKernelRoutesLoopback) {
  const auto attack = [&](std::string_view to) {
    return ask_from(network_->client, 1, to, ask_tcp, kNoAnswer).begin()->first;
  };
  network_->client.run(
      {"sh", "-c",
       "ip address del 127.0.0.1/8 dev lo && ip address del ::1/128 dev lo &&"
       "sysctl -q net.ipv4.conf.eth0.route_localnet=1 &&"
       "ip route add 127.0.0.0/8 via 10.9.0.1 src 10.9.0.100 &&"
       "ip route add 169.254.213.2 via 10.9.0.1 && ip route add fd77::289 via fd09::1"});
  set_sysctl("net/ipv4/conf/eth0/route_localnet", "1");
  ASSERT_EQ(attack(kLocal), "local 10.9.0.100") << "the attack itself must work";
  serve(service("web", "127.0.0.1:8080", {kNear, kHost}) + service("web6", "[::1]:8080", {kNear6}) +
        service("any", "0.0.0.0:8090", {kHost}) + service("any6", "[::]:8091", {kHost6}));
  EXPECT_EQ(attack("10.9.0.1:8090"), "host 10.9.0.100");
  EXPECT_EQ(attack("[fd09::1]:8091"), "host fd09::100");
  for (const char* to :
       {"127.0.0.1:8080", "127.0.0.1:8090", kLocal, "169.254.213.2:8080", "169.254.213.2:8090",
        "[fd77::289]:8080", "[fd77::289]:8091", "10.9.0.1:8080", "[fd09::1]:8080"})
    EXPECT_THAT(attack(to), testing::AnyOf("timeout", "errno 111")) << to;
}

}  // namespace
}  // namespace lb::test
