// Clients of other hosts, served by nf_tables alone.
#include <map>

#include <gmock/gmock.h>

#include "network.h"

namespace lb::test {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;

TEST_F(PublishTest, ServesBothFamiliesAndProtocolsOnOneWire) {
  serve(b1_, "10.80.0.11:9001", "tcp4");
  serve(b1_, "[fd80::11]:9001", "tcp6");
  serve_udp(b1_, "10.80.0.11:9001", "udp4");
  serve_udp(b1_, "[fd80::11]:9001", "udp6");
  open();
  program(service("tcp://[::]:8080", {backend("10.80.0.11:9001"), backend("[fd80::11]:9001")}));
  program(service("udp://[::]:8080", {backend("10.80.0.11:9001"), backend("[fd80::11]:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8080"), "tcp4");
  EXPECT_EQ(ask("[fd80::1]:8080"), "tcp6");
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "udp4");
  EXPECT_EQ(ask_udp("[fd80::1]:8080", 30000), "udp6");
}

TEST_F(PublishTest, ServesFromOneWireToAnother) {
  serve(b3_, "10.81.0.13:9001", "tcp4");
  serve(b3_, "[fd81::13]:9001", "tcp6");
  serve_udp(b3_, "10.81.0.13:9001", "udp4");
  serve_udp(b3_, "[fd81::13]:9001", "udp6");
  open();
  program(service("tcp://[::]:8080", {backend("10.81.0.13:9001"), backend("[fd81::13]:9001")}));
  program(service("udp://[::]:8080", {backend("10.81.0.13:9001"), backend("[fd81::13]:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8080"), "tcp4");
  EXPECT_EQ(ask("[fd80::1]:8080"), "tcp6");
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "udp4");
  EXPECT_EQ(ask_udp("[fd80::1]:8080", 30000), "udp6");
}

TEST_F(PublishTest, ServesOneAddressOfTheHostAndNoOther) {
  serve(b1_, "10.80.0.11:9001", "b1");
  open();
  program(service("tcp://10.80.0.1:8080", {backend("10.80.0.11:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
  client_.run({"ip", "route", "add", "10.81.0.1", "via", "10.80.0.1"});
  EXPECT_EQ(ask("10.81.0.1:8080"), kRefused);
}

class BalanceTest : public PublishTest {
 protected:
  // So many of `connections` went to each.
  std::map<std::string, int> spread(Balance balance, int connections) {
    serve(b1_, "10.80.0.11:9001", "b1");
    serve(b2_, "10.80.0.12:9001", "b2");
    serve(b3_, "10.81.0.13:9001", "b3");
    open();
    program(service("tcp://0.0.0.0:8080",
                    {backend("10.80.0.11:9001", 3), backend("10.80.0.12:9001", 1),
                     backend("10.81.0.13:9001", 0)},
                    balance));
    std::map<std::string, int> out;
    inside(client_, [&] {
      for (int i = 0; i < connections; ++i) ++out[lb::test::ask("10.80.0.1:8080")];
    });
    return out;
  }
};

TEST_F(BalanceTest, RoundRobinKeepsTheWeightsExactly) {
  const auto seen = spread(Balance::RoundRobin, 40);
  EXPECT_EQ(seen, (std::map<std::string, int>{{"b1", 30}, {"b2", 10}}));
}

TEST_F(BalanceTest, RandomKeepsTheWeightsOnAverage) {
  auto seen = spread(Balance::Random, 400);
  EXPECT_EQ(seen.size(), 2u);
  // 300 are expected, with a standard deviation of 8.7.
  EXPECT_NEAR(seen["b1"], 300, 60);
}

TEST_F(BalanceTest, SourceHashSendsAClientToOneBackend) {
  EXPECT_EQ(spread(Balance::SourceHash, 20).size(), 1u);
}

TEST_F(BalanceTest, SourceHashSpreadsClients) {
  serve(b1_, "10.80.0.11:9001", "b1");
  serve(b2_, "10.80.0.12:9001", "b2");
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001"), backend("10.80.0.12:9001")},
                  Balance::SourceHash));
  std::map<std::string, int> seen;
  for (int i = 0; i < 40; ++i) {
    const std::string ip = "10.80.0." + std::to_string(150 + i);
    client_.run({"ip", "address", "add", ip + "/32", "dev", "eth0"});
    client_.run({"ip", "route", "replace", "10.80.0.1", "dev", "eth0", "src", ip});
    ++seen[ask("10.80.0.1:8080")];
  }
  // The hash is a fixed one, and so are the addresses: each gets a fair part of them.
  EXPECT_GT(seen["b1"], 8);
  EXPECT_GT(seen["b2"], 8);
  EXPECT_EQ(seen["b1"] + seen["b2"], 40);
}

TEST_F(PublishTest, RefusesAtOnceWhereNoBackendTakesConnections) {
  open();
  program(service("tcp://[::]:8080", {backend("10.80.0.11:9001", 0)}));
  program(service("udp://[::]:8080", {}));
  EXPECT_EQ(ask("10.80.0.1:8080"), kRefused);
  EXPECT_EQ(ask("[fd80::1]:8080"), kRefused);
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), kRefused);
  EXPECT_EQ(ask_udp("[fd80::1]:8080", 30000), kRefused);
}

TEST_F(PublishTest, LetsABackendOnThisHostSeeTheClient) {
  const UniqueFd listener = listen_on("10.80.0.1:9001");
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.1:9001")}));
  const UniqueFd client = connect("10.80.0.1:8080");
  ASSERT_TRUE(client);
  const UniqueFd accepted(::accept(listener.get(), nullptr, nullptr));
  EXPECT_THAT(peer_of(accepted), HasSubstr("10.80.0.100:"));
}

TEST_F(PublishTest, ShowsABackendElsewhereThisHost) {
  UniqueFd listener;
  inside(b1_, [&] { listener = listen_on("10.80.0.11:9001"); });
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001")}));
  const UniqueFd client = connect("10.80.0.1:8080");
  ASSERT_TRUE(client);
  const UniqueFd accepted(::accept(listener.get(), nullptr, nullptr));
  EXPECT_THAT(peer_of(accepted), HasSubstr("10.80.0.1:"));
}

TEST_F(PublishTest, TellsWhichBackendsOutsideClientsCannotReach) {
  serve(b1_, "10.80.0.11:9001", "b1");
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001"), backend("127.0.0.1:9002"),
                                         backend("[fd80::11]:9001")}));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
  EXPECT_EQ(observed("tcp://0.0.0.0:8080", "10.80.0.11:9001").refused, "");
  EXPECT_THAT(observed("tcp://0.0.0.0:8080", "127.0.0.1:9002").refused, HasSubstr("loopback"));
  EXPECT_THAT(observed("tcp://0.0.0.0:8080", "[fd80::11]:9001").refused, HasSubstr("IPv6"));
  EXPECT_THAT(dataplane_->info().notes,
              Contains(HasSubstr("tcp://0.0.0.0:8080: backend 127.0.0.1:9002: ")));
}

TEST_F(PublishTest, TakesServicesOnLoopbackAsDone) {
  open();
  const std::string before = ruleset();
  program(service("tcp://127.0.0.1:8080", {backend("10.80.0.11:9001")}));
  EXPECT_EQ(ruleset(), before);
  EXPECT_FALSE(dataplane_->read(ServiceKey::parse("127.0.0.1:8080").value()));
}

TEST_F(PublishTest, LeavesClientsOnThisHostToTheHooks) {
  serve(b1_, "10.80.0.11:9001", "b1");
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001")}));
  EXPECT_EQ(lb::test::ask("10.80.0.1:8080"), kRefused);
}

TEST_F(PublishTest, NamesAFirewallThatDropsForwarding) {
  serve(b1_, "10.80.0.11:9001", "b1");
  run_or_throw({"nft",
                "add table ip filter; add chain ip filter FORWARD { type filter hook forward "
                "priority 0; policy drop; }"});
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8080"), kTimedOut);
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("ip filter FORWARD")));
  // What the note advises.
  run_or_throw({"nft", "add rule ip filter FORWARD ct status dnat accept"});
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
}

}  // namespace
}  // namespace lb::test
