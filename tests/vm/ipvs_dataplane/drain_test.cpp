// Backends that leave, and their connections.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/patience.h"
#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

// IPVS remembers a connection that was reset for 10 s (ip_vs_proto_tcp.c, CLOSE).
constexpr auto kForgetting = 25s;

class IpvsDrain : public IpvsVm {
 protected:
  // A connection to this backend, the only one that IPVS will remember.
  static Held hold(std::string_view to, std::string_view name) {
    for (int i = 0; i < 20; ++i) {
      Held client(to);
      if (client.greeting().starts_with(name)) return client;
      client.abort();
    }
    throw std::runtime_error("nothing from " + std::string(name));
  }
  static bool is_in_ipvs(const std::string& what) { return ipvs().find(what) != std::string::npos; }
};

TEST_F(IpvsDrain, ConnectionsLastToTheirEndAndWaitReturnsSoonAfter) {
  serve(service("web", kWeb, {kHost, kNear}));
  Held client = hold(kWeb, "near");
  Process waiting({program("lbctl"), "--socket", lbd_->socket(), "drain", kNear, "--wait"},
                  file("lbctl.log"));
  ASSERT_TRUE(eventually(
      [&] { return waiting.log().find("1 connection left") != std::string::npos; }, kPatient))
      << waiting.log();
  EXPECT_EQ(ask_times(4, kWeb), (Answers{{"host 169.254.213.2", 4}}));
  EXPECT_TRUE(client.alive());
  EXPECT_FALSE(waiting.wait(0s)) << waiting.log();
  EXPECT_EQ(lbd_->backend("web", kNear).active, 1);
  const auto ended = std::chrono::steady_clock::now();
  client.reset();
  EXPECT_EQ(waiting.wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - ended, patient(2s));
  EXPECT_EQ(lbd_->backend("web", kNear).state, "draining") << "stays listed";
}

TEST_F(IpvsDrain, ABackendThatLeftItsSourceGoesWithItsLastConnectionAndMayComeBackBefore) {
  serve(service("web", kWeb, {kHost, kNear}));
  Held client = hold(kWeb, "near");
  change(service("web", kWeb, {kHost}));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kNear).reason == "source"; }));
  EXPECT_EQ(ask_times(4, kWeb), (Answers{{"host 169.254.213.2", 4}}));
  EXPECT_TRUE(client.alive());

  change(service("web", kWeb, {kHost, kNear}));
  EXPECT_EQ(ask_times(4, kWeb), (Answers{{"host 169.254.213.2", 2}, {"near 10.9.0.1", 2}}));
  EXPECT_TRUE(client.alive());
  client.reset();
}

TEST_F(IpvsDrain, AServiceThatIsRemovedGoesWithItsLastConnectionAndTheListenerBehindItReappears) {
  const Backend own("own", {kWeb});
  write_services(service("web", kWeb, {kHost, kNear}) + service("api", "127.0.0.1:8081", {kHost}));
  configure("ipvs", "on_local_listener = \"shadow\"");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return programmed(); })) << lbd_->json({"list"});
  Held client = hold(kWeb, "near");
  change(service("web", kWeb, {kHost}) + service("api", "127.0.0.1:8081", {kHost}));
  EXPECT_TRUE(is_in_ipvs("10.9.0.11:9000 -m -w 0"));
  change(service("api", "127.0.0.1:8081", {kHost}));
  EXPECT_TRUE(client.alive());
  client.reset();
  EXPECT_TRUE(eventually([&] { return !is_in_ipvs(kWeb); }, kForgetting)) << ipvs();
  EXPECT_THAT(ask_tcp(kWeb), testing::StartsWith("own "));
  EXPECT_THAT(ask_tcp("127.0.0.1:8081"), testing::StartsWith("host "));
  EXPECT_THAT(run({"nft", "list", "table", "ip", "lbd"}).out,
              Not(HasSubstr("127.0.0.1 . tcp . 8080")));
}

TEST_F(IpvsDrain, ATransferSurvivesThatTheFirstBackendElsewhereComesAndThatItsOwnLeaves) {
  serve(service("web", kWeb, {kLocal}));
  Held client = hold(kWeb, "local");
  std::atomic<bool> stop = false, alive = true;
  std::atomic<int> messages = 0;
  std::thread transfer([&] {
    for (; !stop && alive; ++messages) alive = client.alive();
  });
  change(service("web", kWeb, {kLocal, kNear}));
  EXPECT_EQ(ask_times(2, kWeb).size(), 2U);
  change(service("web", kWeb, {kNear}));
  EXPECT_EQ(ask_times(2, kWeb), (Answers{{"near 10.9.0.1", 2}}));
  const int before = messages;
  EXPECT_TRUE(eventually([&] { return messages > before + 10 || !alive; }));
  stop = true;
  transfer.join();
  EXPECT_TRUE(alive) << "after " << messages << " messages";
  EXPECT_THAT(client.send_bytes(100'000), testing::EndsWith("bytes"));
}

TEST_F(IpvsDrain, ClientsOfOtherHostsKeepTheirConnectionsToo) {
  serve(service("any", "0.0.0.0:8090", {kHost, kNear}));
  inside(network_->client, [] {
    Held client = hold("10.9.0.1:8090", "near");
    client.abort();
  });
  std::optional<Held> client;
  inside(network_->client, [&] { client.emplace(hold("10.9.0.1:8090", "near")); });
  ASSERT_EQ(lbd_->ctl({"drain", kNear}).code, 0);
  EXPECT_EQ(ask_from(network_->client, 4, "10.9.0.1:8090"), (Answers{{"host 10.9.0.100", 4}}));
  EXPECT_TRUE(client->alive());
  EXPECT_EQ(lbd_->backend("any", kNear).active, 1);
  client->abort();
  EXPECT_EQ(lbd_->ctl({"drain", kNear, "--wait"}).code, 0);
}

TEST_F(IpvsDrain, TerminateEndsLocalClientsOfThisBackendAlone) {
  serve(service("web", kWeb, {kHost, kNear}));
  const Held client = hold(kWeb, "near"), other = hold(kWeb, "host"), direct(kNear);
  const Finished done = lbd_->ctl({"drain", kNear, "--wait", "--terminate", "--timeout", "1s"});
  EXPECT_EQ(done.code, 0) << done.all();
  EXPECT_FALSE(client.alive());
  EXPECT_TRUE(other.alive());
  EXPECT_TRUE(direct.alive()) << "lbd did not steer it";
}

}  // namespace
}  // namespace lb::test
