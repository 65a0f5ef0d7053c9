// One story for every dataplane: what clients and lbctl see must be the same, whatever the kernel does underneath. The tier netns tells it with
// the hooks, the tier vm with the hooks and with IPVS (LB_DATAPLANE). Where answers may differ: docs/OPERATIONS.md.
#include <gmock/gmock.h>

#include <cstdlib>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class Scenario : public DaemonNetns {
 protected:
  // "127.0.0.1:7001 active - 100 1": what an operator reads of each backend.
  [[nodiscard]] std::vector<std::string> told() const {
    std::vector<std::string> out;
    for (const auto& b : lbd_->service("web").backends)
      out.push_back(fmt::format("{} {} {} {} {}", b.address, b.state,
                                b.reason.empty() ? "-" : b.reason, b.effective_weight > 0,
                                b.active));
    return out;
  }
  bool tells(const std::vector<std::string>& lines) {
    return eventually([&] { return told() == lines; });
  }
  [[nodiscard]] std::string told_text() const { return fmt::format("{}", fmt::join(told(), "\n")); }
  UniqueFd hold(std::string_view greeting) {
    for (int i = 0; i < 100; ++i)
      if (UniqueFd client = connect_to(kWeb); read_all_now(client) == greeting) return client;
    ADD_FAILURE() << "nothing from " << greeting;
    return {};
  }
  static bool alive(const UniqueFd& client) {
    char byte = 0;
    return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  static std::string wanted() {
    const char* text = std::getenv("LB_DATAPLANE");
    return text ? text : "ebpf";
  }
};

TEST_F(Scenario, RunsOnTheDataplaneThatWasAskedFor) {
  serve_web({kOne});
  EXPECT_EQ(json_at(lbd_->json({"status"}), "/dataplane/mode"), wanted());
}

TEST_F(Scenario, ClientsReachBackendsByWeightAndSeeTheService) {
  write_services(
      "[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:5000\"\nbalance = "
      "\"round-robin\"\nbackends = [ { address = "
      "\"127.0.0.1:7001\", weight = 300 }, { address = \"127.0.0.1:7002\" }, { address = "
      "\"127.0.0.1:7003\", weight = 0 } ]\n");
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  const auto answers = ask_often(kWeb, 400);
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_NEAR(answers.at("1"), 300, 40);
  EXPECT_NEAR(answers.at("2"), 100, 40);
  const UniqueFd client = hold("1");
  EXPECT_EQ(peer_of(client), kWeb);
  EXPECT_EQ(lbd_->backend("web", kThree).reason, "weight");
}

TEST_F(Scenario, LeastConnectionsCountsWhatIsOpen) {
  serve_web({kOne, kTwo});
  std::vector<UniqueFd> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(connect_to(kWeb));
    ASSERT_TRUE(open.back()) << errno;
    EXPECT_FALSE(read_all_now(open.back()).empty());
  }
  EXPECT_TRUE(tells({"127.0.0.1:7001 active - true 5", "127.0.0.1:7002 active - true 5"}))
      << told_text();
}

TEST_F(Scenario, ADrainKeepsWhatIsOpenAndWaitsForItsEnd) {
  serve_web({kOne, kTwo});
  UniqueFd client = hold("1");
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "300ms"}).code, 4);
  EXPECT_THAT(ask_often(kWeb, 20), ElementsAre(Pair("2", 20)));
  EXPECT_TRUE(alive(client));
  EXPECT_TRUE(tells({"127.0.0.1:7001 draining operator false 1", "127.0.0.1:7002 active - true 0"}))
      << told_text();
  client.reset();
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "10s"}).code, 0);
  EXPECT_TRUE(tells({"127.0.0.1:7001 draining operator false 0", "127.0.0.1:7002 active - true 0"}))
      << told_text();
  EXPECT_EQ(lbd_->ctl({"undrain", kOne}).code, 0);
  EXPECT_EQ(ask_often(kWeb, 60).size(), 2U);
}

TEST_F(Scenario, ABackendThatLeavesItsSourceGoesWithItsLastConnection) {
  serve_web({kOne, kTwo});
  UniqueFd client = hold("1");
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_THAT(ask_often(kWeb, 20), ElementsAre(Pair("2", 20)));
  EXPECT_TRUE(alive(client));
  client.reset();
  EXPECT_TRUE(is_gone("web", kOne));
}

TEST_F(Scenario, ABackendIsAddedUnderOpenConnections) {
  serve_web({kOne});
  const UniqueFd client = hold("1");
  write_services(service_toml("web", kWeb, {kOne, kTwo, kThree}));
  ASSERT_TRUE(backend_becomes("web", kThree, "active"));
  // The one with an open connection may be left out: least connections.
  EXPECT_THAT(ask_often(kWeb, 20),
              testing::IsSupersetOf({Pair("2", testing::Gt(0)), Pair("3", testing::Gt(0))}));
  EXPECT_TRUE(alive(client));
}

TEST_F(Scenario, NoUsableBackendIsRefusedAtOnce) {
  serve_web({kOne});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(ask(kWeb), "errno 111");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 1s) << "no retransmission was waited for";
  EXPECT_EQ(lbd_->service("web").condition, "no-backends");
}

TEST_F(Scenario, AServiceThatLeavesGivesItsPortBack) {
  serve_web({kOne});
  EXPECT_EQ(ask(kWeb), "1");
  write_services("# none\n");
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  const Server heir(kWeb, "heir");
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "heir"; }, 15s));
}

TEST_F(Scenario, AForeignListenerIsAConflictUntilItGoes) {
  auto foreign = std::make_unique<Server>(kWeb, "foreign");
  write_services(service_toml("web", kWeb, {kOne}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "conflict"));
  EXPECT_EQ(ask(kWeb), "foreign");
  foreign.reset();
  EXPECT_TRUE(becomes("web", "ok"));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "1"; }));
}

TEST_F(Scenario, DeathAndRestartAreNotNoticed) {
  serve_web({kOne, kTwo});
  const UniqueFd client = hold("1");
  const Load load(kWeb, 2ms);
  ASSERT_EQ(lbd_->ctl({"drain", kTwo}).code, 0);
  for (int i = 0; i < 3; ++i) {
    lbd_->kill();
    ASSERT_TRUE(lbd_->start());
  }
  EXPECT_EQ(lbd_->backend("web", kTwo).reason, "operator");
  EXPECT_THAT(ask_often(kWeb, 10), ElementsAre(Pair("1", 10)));
  EXPECT_TRUE(alive(client));
  EXPECT_GT(load.made(), 0);
  EXPECT_EQ(load.failed(), 0);
}

TEST_F(Scenario, TerminateEndsWhatALocalClientHolds) {
  serve_web({kOne, kTwo});
  const UniqueFd client = hold("1"), other = hold("2");
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--terminate", "--timeout", "500ms"}).code, 0);
  EXPECT_TRUE(eventually([&] { return !alive(client); }));
  EXPECT_TRUE(alive(other));
}

TEST_F(Scenario, ExplainSaysWhereAConnectWouldGo) {
  serve_web({kOne, kTwo});
  ASSERT_EQ(lbd_->ctl({"drain", kTwo}).code, 0);
  const std::string explained = lbd_->json({"explain", kWeb});
  EXPECT_EQ(json_at(explained, "/outcome"), "balanced") << explained;
  EXPECT_EQ(json_at(explained, "/backends/0/candidate"), "true") << explained;
  EXPECT_EQ(json_at(explained, "/backends/1/candidate"), "false") << explained;
}

TEST_F(Scenario, UdpIsAnsweredFromTheService) {
  const UniqueFd server = bind_udp("127.0.0.1:7101");
  write_services(service_toml("dns", "udp://127.0.0.1:5300", {"127.0.0.1:7101"}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("dns", "ok"));
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, "127.0.0.1:5300"), 0);
  ASSERT_EQ(::send(client.get(), "q", 1, 0), 1);
  SocketName from;
  from.length = sizeof from.storage;
  char byte = 0;
  ASSERT_EQ(::recvfrom(server.get(), &byte, 1, 0, from.get(), &from.length), 1);
  ASSERT_EQ(::sendto(server.get(), "a", 1, 0, from.get(), from.length), 1);
  EXPECT_EQ(read_all_now(client), "a");
  EXPECT_EQ(lbd_->backend("dns", "127.0.0.1:7101").active, -1) << "UDP has no exact count";
}

TEST_F(Scenario, DetachLeavesNothing) {
  const auto state = [] {
    return run({"nft", "list", "ruleset"}).out + run({"ip", "address", "show", "dev", "lo"}).out;
  };
  const std::string before = state();
  serve_web({kOne});
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(lbd_->stop(), 0);
  EXPECT_EQ(ask(kWeb), "1") << "without lbd the kernel goes on";
  const Finished detached = run(lbd_->command("detach"));
  EXPECT_EQ(detached.code, 0) << detached.all();
  // The kernel frees a link some milliseconds after its pin (bpf_free_inode() waits for RCU).
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  EXPECT_EQ(state(), before);
}

}  // namespace
}  // namespace lb::test
