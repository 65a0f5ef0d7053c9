// Backends that have left their source, and drain.timeout.
#include <gmock/gmock.h>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::Key;
using testing::UnorderedElementsAre;

class Departure : public DaemonNetns {
 protected:
  static bool ended(const UniqueFd& client) {
    char byte = 0;
    const ssize_t n = ::recv(client.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
  }
  std::string saved_snapshot() const {
    return run({"sh", "-c", "cat " + lbd_->state_dir + "/sources/*"}).out;
  }
  UniqueFd hold() {
    UniqueFd client = connect_to(kWeb);
    EXPECT_EQ(read_all_now(client), "1");
    return client;
  }
};

TEST_F(Departure, KeepLeavesConnectionsAloneAtTheDeadline) {
  serve_web({kOne}, "[drain]\ntimeout = \"300ms\"\non_timeout = \"keep\"\n");
  UniqueFd client = hold();
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).reason == "lingering"; }));
  EXPECT_EQ(lbd_->backend("web", kOne).active, 1);
  EXPECT_FALSE(ended(client));
  EXPECT_EQ(peer_of(client), kWeb);
  client.reset();
  EXPECT_TRUE(is_gone("web", kOne));
}

TEST_F(Departure, TerminateEndsConnectionsAtTheDeadline) {
  serve_web({kOne}, "[drain]\ntimeout = \"300ms\"\non_timeout = \"terminate\"\n");
  const UniqueFd client = hold();
  const UniqueFd direct = connect_to(kOne);
  EXPECT_EQ(read_all_now(direct), "1");
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "2"; }));
  EXPECT_TRUE(eventually([&] { return ended(client); }));
  EXPECT_FALSE(ended(direct));
  EXPECT_TRUE(is_gone("web", kOne));
}

TEST_F(Departure, BackendThatComesBackTakesUpItsCounts) {
  serve_web({kOne});
  UniqueFd client = hold();
  for (int i = 0; i < 9; ++i) EXPECT_EQ(ask(kWeb), "1");
  const ListedBackend before = lbd_->backend("web", kOne);
  EXPECT_GE(before.total, 10);
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  write_services(service_toml("web", kWeb, {kOne, kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "active"));
  const ListedBackend after = lbd_->backend("web", kOne);
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.total, before.total);
  EXPECT_EQ(after.active, 1);
  client.reset();
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).active == 0; }));
}

TEST_F(Departure, SurvivesSigkillAndEndsAtItsOldDeadline) {
  serve_web({kOne}, "[drain]\ntimeout = \"3s\"\n");
  const UniqueFd client = hold();
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  const std::string since = lbd_->backend("web", kOne).since;
  // A slow disk is written to rarely: the saved snapshot follows a moment later.
  ASSERT_TRUE(eventually([&] { return saved_snapshot().find("7002") != std::string::npos; },
                         std::chrono::seconds(20)));
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  const ListedBackend again = lbd_->backend("web", kOne);
  EXPECT_EQ(again.state, "draining");
  EXPECT_TRUE(again.since == since || again.reason == "lingering") << again.since << " " << since;
  EXPECT_EQ(again.active, 1);
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).reason == "lingering"; }));
  EXPECT_FALSE(ended(client));
}

TEST_F(Departure, BackendThatLeftWhileLbdWasDeadDrainsToo) {
  serve_web({kOne, kTwo});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(connect_to(kWeb));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kOne).active == 2; }));
  lbd_->kill();
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_EQ(lbd_->backend("web", kOne).active, 2);
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
  clients.clear();
  EXPECT_TRUE(is_gone("web", kOne));
}

TEST_F(Departure, CountsArePerServiceAlsoForASharedBackend) {
  write_services(service_toml("web", kWeb, {kOne}) + service_toml("api", "127.0.0.1:5001", {kOne}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok") && becomes("api", "ok"));
  const UniqueFd a = connect_to(kWeb), b = connect_to(kWeb), c = connect_to("127.0.0.1:5001");
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).active == 2; }));
  EXPECT_EQ(lbd_->backend("api", kOne).active, 1);
  write_services(service_toml("api", "127.0.0.1:5001", {kOne}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_EQ(lbd_->backend("web", kOne).active, 2);
  EXPECT_EQ(lbd_->backend("api", kOne).active, 1);
  EXPECT_EQ(ask("127.0.0.1:5001"), "1");
}

}  // namespace
}  // namespace lb::test
