// What happens to flows and rules when services change, and when others change the rules.
#include <cerrno>
#include <chrono>
#include <filesystem>

#include <gmock/gmock.h>

#include "network.h"
#include "nft/tables.h"

namespace lb::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr auto kService = "tcp://0.0.0.0:8080";
constexpr auto kUdp = "udp://0.0.0.0:8080";
constexpr auto kRefused = "errno 111";
constexpr auto kRepaired = std::chrono::seconds(20);

class PublishChangeTest : public PublishTest {
 protected:
  void serve_two() {
    serve(b1_, "10.80.0.11:9001", "b1");
    serve(b2_, "10.80.0.12:9001", "b2");
    open();
  }
  void weights(std::uint32_t first, std::uint32_t second) {
    program(
        service(kService, {backend("10.80.0.11:9001", first), backend("10.80.0.12:9001", second)}));
  }
  // A connection that was greeted, so that connection tracking has seen it open.
  UniqueFd greeted(const std::string& by) {
    UniqueFd fd = connect("10.80.0.1:8080");
    if (!fd) throw std::runtime_error("cannot connect");
    EXPECT_EQ(read_all_now(fd), by);
    return fd;
  }
  // The client is served again, within the time that is promised, and it is counted.
  bool put_back(const std::string& by) {
    const bool again = eventually(
        [&] {
          (void)dataplane_->collect();
          return ask("10.80.0.1:8080") == by;
        },
        kRepaired);
    EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("put back 1 times")));
    return again;
  }
  bool becomes(const std::string& at, std::uint64_t active) {
    return eventually([&] { return observed(kService, at).active_connections == active; });
  }
};

TEST_F(PublishChangeTest, DrainsWithoutTouchingWhatIsOpen) {
  serve_two();
  weights(1, 0);
  UniqueFd held = greeted("b1");
  EXPECT_TRUE(becomes("10.80.0.11:9001", 1));
  weights(0, 1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask("10.80.0.1:8080"), "b2");
  // Alive: nothing was reset, and bytes go on.
  EXPECT_EQ(::send(held.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(becomes("10.80.0.11:9001", 1));
  held = {};
  EXPECT_TRUE(becomes("10.80.0.11:9001", 0));
}

TEST_F(PublishChangeTest, RemembersABackendThatLeftUntilItsFlowsAreGone) {
  serve_two();
  weights(1, 0);
  UniqueFd held = greeted("b1");
  program(service(kService, {backend("10.80.0.12:9001")}));
  const auto left = observed(kService, "10.80.0.11:9001");
  EXPECT_FALSE(left.listed);
  EXPECT_EQ(left.active_connections, 1u);
  held = {};
  EXPECT_TRUE(eventually(
      [&] { return dataplane_->read(ServiceKey::parse(kService).value())->backends.size() == 1; }));
}

TEST_F(PublishChangeTest, TerminatesOneBackendsConnections) {
  serve_two();
  weights(1, 0);
  const UniqueFd doomed = greeted("b1");
  weights(0, 1);
  const UniqueFd other = greeted("b2");
  const auto ended =
      dataplane_->terminate(ServiceKey::parse(kService).value(), address("10.80.0.11:9001"));
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(*ended, 1u);
  EXPECT_EQ(observed(kService, "10.80.0.11:9001").active_connections, 0u);
  // The client hears of it when it sends.
  (void)::send(doomed.get(), "x", 1, MSG_NOSIGNAL);
  char byte = 0;
  EXPECT_EQ(::recv(doomed.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(::send(other.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(becomes("10.80.0.12:9001", 1));
}

TEST_F(PublishChangeTest, SendsUdpClientsOfARemovedBackendElsewhere) {
  serve_udp(b1_, "10.80.0.11:9001", "b1");
  serve_udp(b2_, "10.80.0.12:9001", "b2");
  open();
  const ServiceKey key = ServiceKey::parse(kUdp).value();
  program(service(kUdp, {backend("10.80.0.11:9001"), backend("10.80.0.12:9001", 0)}));
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "b1");
  EXPECT_EQ(dataplane_->count_sockets(key, address("10.80.0.11:9001")).value(), 1u);
  EXPECT_EQ(observed(kUdp, "10.80.0.11:9001").active_connections, std::nullopt);
  // Weight 0 keeps the flow where it is.
  program(service(kUdp, {backend("10.80.0.11:9001", 0), backend("10.80.0.12:9001")}));
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "b1");
  program(service(kUdp, {backend("10.80.0.12:9001")}));
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "b2");
}

TEST_F(PublishChangeTest, RemovesAServiceAndItsTableWithTheLast) {
  serve_two();
  const std::string before = ruleset();
  weights(1, 1);
  program(service("tcp://0.0.0.0:8081", {backend("10.80.0.11:9001")}));
  ASSERT_TRUE(dataplane_->remove(ServiceKey::parse(kService).value()));
  EXPECT_EQ(ask("10.80.0.1:8080"), kRefused);
  EXPECT_EQ(ask("10.80.0.1:8081"), "b1");
  ASSERT_TRUE(dataplane_->remove(ServiceKey::parse("tcp://0.0.0.0:8081").value()));
  ASSERT_TRUE(dataplane_->remove(ServiceKey::parse("tcp://0.0.0.0:8081").value())) << "again";
  EXPECT_EQ(ruleset(), before);
}

TEST_F(PublishChangeTest, WritesNothingAfterARestart) {
  serve_two();
  weights(2, 1);
  ASSERT_TRUE(dataplane_->collect());
  const std::string before = ruleset();
  auto tables = nft::Tables::open().value();
  const auto generation = tables.generation().value();
  open();
  weights(2, 1);
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_EQ(tables.generation().value(), generation);
  EXPECT_EQ(ruleset(), before);
  EXPECT_EQ(observed(kService, "10.80.0.11:9001").weight, 2u);
}

TEST_F(PublishChangeTest, KnowsItsRulesAlthoughOthersChangedTheirsMeanwhile) {
  serve_two();
  weights(2, 1);
  // The rules' fingerprint is taken at leisure.
  ASSERT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        const auto text = read_text(sandbox_->folder() + "/nft.json");
        return text.find("\"fingerprint\": \"\"") == std::string::npos;
      },
      std::chrono::seconds(60)));
  dataplane_.reset();
  run_or_throw({"nft", "add table ip theirs"});
  auto tables = nft::Tables::open().value();
  const auto generation = tables.generation().value();
  open();
  weights(2, 1);
  EXPECT_EQ(tables.generation().value(), generation);
}

TEST_F(PublishChangeTest, ReplacesRulesThatWereChangedWhileItWasAway) {
  serve_two();
  weights(1, 1);
  dataplane_.reset();
  run_or_throw({"nft", "delete table ip lbd"});
  open();
  weights(0, 1);
  EXPECT_EQ(ask("10.80.0.1:8080"), "b2");
}

TEST_F(PublishChangeTest, PutsBackWhatSomebodyRemovedAndCountsIt) {
  serve_two();
  weights(1, 0);
  run_or_throw({"nft", "delete table ip lbd"});
  EXPECT_EQ(ask("10.80.0.1:8080"), kRefused);
  EXPECT_TRUE(eventually(
      [&] {
        EXPECT_TRUE(dataplane_->collect());
        return ask("10.80.0.1:8080") == "b1";
      },
      std::chrono::seconds(30)));
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("put back 1 times")));
}

TEST_F(PublishChangeTest, PutsBackWhatSomebodyChanged) {
  serve_two();
  weights(1, 0);
  ASSERT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        const auto text = read_text(sandbox_->folder() + "/nft.json");
        return text.find("\"fingerprint\": \"\"") == std::string::npos;
      },
      std::chrono::seconds(60)));
  const std::string before = ruleset();
  run_or_throw({"nft", "flush chain ip lbd outside"});
  EXPECT_TRUE(eventually(
      [&] {
        EXPECT_TRUE(dataplane_->collect());
        return ruleset() == before;
      },
      std::chrono::seconds(30)));
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("put back 1 times")));
}

TEST_F(PublishChangeTest, ChangesAServiceWhoseTableIsGone) {
  serve_two();
  weights(1, 0);
  run_or_throw({"nft", "delete table ip lbd"});
  weights(0, 1);
  EXPECT_EQ(ask("10.80.0.1:8080"), "b2");
}

// Within the five seconds in which the rules were not listed yet, so that lbd has nothing to compare with.
TEST_F(PublishChangeTest, PutsBackWhatSomebodyFlushedRightAfterAWrite) {
  serve_two();
  weights(1, 0);
  run_or_throw({"nft", "flush ruleset"});
  EXPECT_EQ(ask("10.80.0.1:8080"), kRefused);
  EXPECT_TRUE(put_back("b1"));
}

TEST_F(PublishChangeTest, PutsBackWhatSomebodyFlushedRightBeforeARestart) {
  serve_two();
  weights(1, 0);
  run_or_throw({"nft", "flush ruleset"});
  open();  // a start writes what is missing, and repairs nothing
  EXPECT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        return ask("10.80.0.1:8080") == "b1";
      },
      kRepaired));
}

TEST_F(PublishChangeTest, ReplacesTheRulesOfAnEarlierLbdAtItsStart) {
  serve_two();
  weights(1, 0);
  ASSERT_TRUE(dataplane_->collect());
  dataplane_.reset();
  const std::string file = sandbox_->folder() + "/nft.json";
  run_or_throw({"sed", "-i", "s/\"rules\": 2/\"rules\": 1/", file});
  run_or_throw({"nft", "flush chain ip lbd tcp-0.0.0.0-8080"});  // as if they were others
  run_or_throw(
      {"nft", "add rule ip lbd tcp-0.0.0.0-8080 meta l4proto tcp dnat to 10.80.0.12:9001"});
  open();
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
}

TEST_F(PublishChangeTest, PutsForwardingBackAndCountsIt) {
  serve_two();
  weights(1, 0);
  ASSERT_TRUE(dataplane_->collect());
  run_or_throw({"sysctl", "-qw", "net.ipv4.conf.lb0.forwarding=0"});
  EXPECT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        return run({"sysctl", "-n", "net.ipv4.conf.lb0.forwarding"}).out == "1\n";
      },
      kRepaired));
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("forwarding: changed from outside")));
}

// Backends on this host need no forwarding, and the others are served as soon as it can be had.
TEST_F(PublishChangeTest, ServesAndSaysSoWhereForwardingCannotBeHad) {
  const Server local("10.80.0.1:9001", "local");
  open();
  const std::string settings = sandbox_->folder() + "/nft-sysctls.json";
  std::filesystem::create_directory(settings);  // what was before cannot be noted
  program(service(kService, {backend("10.80.0.1:9001"), backend("10.80.0.11:9001", 0)}));
  EXPECT_EQ(ask("10.80.0.1:8080"), "local");
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_THAT(dataplane_->info().problems, Contains(HasSubstr("forwarding: ")));
  std::filesystem::remove(settings);
  EXPECT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        return dataplane_->info().problems.empty();
      },
      kRepaired));
}

// The proxy that had the port before has connections open, and connection tracking sees them for the first time in the middle.
TEST_F(PublishChangeTest, ConnectionsOfTheProxyBeforeGoOn) {
  serve(b1_, "10.80.0.11:9001", "b1");
  open();
  UniqueFd old = listen_on("10.80.0.1:8080");
  const UniqueFd client = connect("10.80.0.1:8080");
  ASSERT_TRUE(client);
  const UniqueFd accepted(::accept(old.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted);
  const timeval patience{.tv_sec = 2, .tv_usec = 0};
  ::setsockopt(accepted.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  old = {};
  program(service(kService, {backend("10.80.0.11:9001")}));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
    char byte = 0;
    ASSERT_EQ(::recv(accepted.get(), &byte, 1, 0), 1) << "errno " << errno;
    ASSERT_EQ(::send(accepted.get(), "y", 1, MSG_NOSIGNAL), 1);
    ASSERT_EQ(::recv(client.get(), &byte, 1, 0), 1) << "errno " << errno;
  }
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1") << "new ones";
  program(service(kService, {backend("127.0.0.1:9001")}));
  ASSERT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  EXPECT_EQ(::recv(accepted.get(), &byte, 1, 0), 1) << "also where no other client is served";
}

// Each datagram renews its flow, so that a sender that does not pause would never meet the service.
TEST_F(PublishChangeTest, UdpSendersFromBeforeReachTheService) {
  const UdpServer old("10.80.0.1:8080", "old");
  serve_udp(b1_, "10.80.0.11:9001", "b1");
  serve(b1_, "10.80.0.11:9001", "b1");
  open();
  weights(1, 0);  // connection tracking is at work
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "old");
  program(service(kUdp, {backend("10.80.0.11:9001")}));
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30000), "b1");
  // The same where the rules were away for a while.
  run_or_throw({"nft",
                "flush ruleset; add table ip theirs; add chain ip theirs c { type filter hook "
                "prerouting priority 0; }; add rule ip theirs c ct state new accept"});
  EXPECT_EQ(ask_udp("10.80.0.1:8080", 30001), "old");
  EXPECT_TRUE(eventually(
      [&] {
        (void)dataplane_->collect();
        return ask_udp("10.80.0.1:8080", 30001) == "b1";
      },
      kRepaired));
}

TEST_F(PublishChangeTest, TakesManyServicesAtOnce) {
  serve_two();
  std::vector<ProgrammedService> many;
  for (int i = 0; i < 2'000; ++i) {
    std::vector<ProgrammedBackend> backends;
    for (int b = 1; b <= 10; ++b)
      backends.push_back({{IpAddress::v4(0x0a510000U + static_cast<std::uint32_t>(b)), 9001}, 1});
    many.push_back(service("tcp://0.0.0.0:" + std::to_string(10'000 + i), backends));
  }
  ASSERT_TRUE(dataplane_->prepare(many));
  auto tables = nft::Tables::open().value();
  const auto generation = tables.generation().value();
  for (const ProgrammedService& each : many) ASSERT_TRUE(dataplane_->upsert(each));
  EXPECT_EQ(tables.generation().value(), generation) << "all was done at once";
  program(service("tcp://0.0.0.0:10500", {backend("10.80.0.12:9001")}));
  EXPECT_EQ(ask("10.80.0.1:10500"), "b2");
  EXPECT_EQ(tables.generation().value(), generation + 1);
}

}  // namespace
}  // namespace lb::test
