// Clients of this host: services on 127.0.0.1 and ::1, whose backends are anywhere.
#include <gmock/gmock.h>

#include <chrono>

#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kWeb6 = "[::1]:8080";

class IpvsLocal : public IpvsVm {
 protected:
  // TCP and UDP, both families, four backends each.
  static std::string everywhere() {
    const std::vector<std::string> v4{kLocal, kHost, kNear, kSecond};
    const std::vector<std::string> v6{kLocal6, kHost6, kNear6, kSecond6};
    return service("web", kWeb, v4) + service("web6", kWeb6, v6) +
           service("dns", "udp://127.0.0.1:8080", v4) + service("dns6", "udp://[::1]:8080", v6);
  }
  // Each backend equally often; those on other hosts see the address of the interface towards them.
  static Answers even(int each, bool v6) {
    if (v6)
      return {{"local fd77::289", each},
              {"host fd77::289", each},
              {"near fd09::1", each},
              {"second fd08::1", each}};
    return {{"local 169.254.213.2", each},
            {"host 169.254.213.2", each},
            {"near 10.9.0.1", each},
            {"second 10.8.0.1", each}};
  }
  static void expect_everything_works() {
    for (const bool v6 : {false, true}) {
      const std::string to = v6 ? kWeb6 : kWeb;
      const Asking bound{.bind_to = v6 ? "::1" : "127.0.0.1"};
      EXPECT_EQ(ask_times(8, to), even(2, v6)) << to;
      EXPECT_EQ(ask_times(4, to, ask_tcp, bound), even(1, v6)) << "bound to " << bound.bind_to;
      EXPECT_EQ(ask_times(4, to, ask_udp), even(1, v6)) << "connected UDP to " << to;
      EXPECT_EQ(ask_times(4, to, ask_udp_unconnected), even(1, v6)) << "UDP to " << to;
      EXPECT_EQ(ask_times(4, to, ask_udp, bound), even(1, v6)) << "UDP bound to " << bound.bind_to;
    }
  }
};

TEST_F(IpvsLocal, EveryClientReachesEveryBackend) {
  serve(everywhere());
  expect_everything_works();
  for (int i = 0; i < 4; ++i) {
    const Held client(kWeb), client6(kWeb6);
    EXPECT_EQ(client.peer(), kWeb) << client.greeting();
    EXPECT_EQ(client.local(), "127.0.0.1") << client.greeting();
    EXPECT_EQ(client6.peer(), kWeb6) << client6.greeting();
    EXPECT_EQ(client6.local(), "::1") << client6.greeting();
  }
}

TEST_F(IpvsLocal, AStatefulFirewallAndReversePathFilterLetItPass) {
  for (const char* of : {"all", "default", "lo", "eth0", "eth1"})
    set_sysctl("net/ipv4/conf/" + std::string(of) + "/rp_filter", "1");
  add_rules(R"(table inet firewall {
    chain input { type filter hook input priority filter; policy drop;
      ct state invalid drop
      ct state established,related accept
      iif lo accept
      icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
    chain output { type filter hook output priority filter; policy accept;
      ct state invalid drop
    }
  })");
  serve(everywhere());
  expect_everything_works();
}

TEST_F(IpvsLocal, LargeTransfersPassALinkOfSmallPackets) {
  std::unique_ptr<Backend> far;
  inside(network_->far, [&] {
    far = std::make_unique<Backend>("far",
                                    std::vector<std::string>{"10.7.0.13:9000", "[fd07::13]:9000"});
  });
  serve(service("web", kWeb, {"10.7.0.13:9000"}) + service("web6", kWeb6, {"[fd07::13]:9000"}));
  for (const char* to : {kWeb, kWeb6}) {
    Held client(to);
    EXPECT_THAT(client.greeting(), testing::StartsWith("far "));
    EXPECT_EQ(client.send_bytes(1'000'000), "1000000 bytes") << to;
  }
  // Both were told of the link: else this has shown nothing.
  inside(network_->router, [] {
    EXPECT_THAT(run({"nstat", "-asz", "IpFragFails", "Ip6InTooBigErrors"}).out,
                testing::AllOf(testing::ContainsRegex("IpFragFails +[1-9]"),
                               testing::ContainsRegex("Ip6InTooBigErrors +[1-9]")));
  });
}

TEST_F(IpvsLocal, ClosedPortsAreRefusedAtOnce) {
  serve(service("web", kWeb, {"10.9.0.11:9009"}) + service("web6", kWeb6, {"[fd09::11]:9009"}) +
        service("dns", "udp://127.0.0.1:8080", {"10.9.0.11:9009"}) +
        service("dns6", "udp://[::1]:8080", {"[fd09::11]:9009"}));
  for (const char* to : {kWeb, kWeb6}) {
    EXPECT_EQ(ask_tcp(to), "errno 111") << to;
    EXPECT_EQ(ask_udp(to), "errno 111") << to;
  }
}

TEST_F(IpvsLocal, AServiceWithoutUsableBackendsRefusesAtOnce) {
  serve(everywhere());
  for (const auto* backend : {kLocal, kHost, kNear, kSecond, kLocal6, kHost6, kNear6, kSecond6})
    ASSERT_EQ(lbd_->ctl({"drain", backend}).code, 0) << backend;
  for (const char* to : {kWeb, kWeb6}) {
    EXPECT_EQ(ask_tcp(to), "errno 111") << to;
    EXPECT_EQ(ask_udp(to), "errno 111") << to;
  }
}

// The service for 127.0.0.1 also serves ::1, where it has backends of that family.
TEST_F(IpvsLocal, BackendsOfBothFamiliesServeTheirClients) {
  serve(service("web", kWeb, {kNear, kNear6}));
  EXPECT_EQ(ask_times(2, kWeb), (Answers{{"near 10.9.0.1", 2}}));
  EXPECT_EQ(ask_times(2, kWeb6), (Answers{{"near fd09::1", 2}}));
}

TEST_F(IpvsLocal, WithoutLaunderingLocalBackendsSeeTheClientAndOthersAreRefused) {
  serve(service("web", kWeb, {kLocal, kNear}, "launder = false"));
  EXPECT_EQ(ask_times(2, kWeb), (Answers{{"local 127.0.0.1", 2}}));
  EXPECT_EQ(lbd_->backend("web", kNear).reason, "unsupported");
  EXPECT_THAT(notes(), testing::HasSubstr("10.9.0.11:9000 is not used: launder = false"));
}

}  // namespace
}  // namespace lb::test
