// Somebody else listens on the service's port.
#include <gmock/gmock.h>

#include <chrono>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"
#include "netns/daemon/nginx.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using testing::Key;
using testing::UnorderedElementsAre;

class Conflict : public DaemonNetns {
 protected:
  std::string warnings() const { return json_at(lbd_->json({"status"}), "/warnings"); }
  void start_with_web(const std::string& more_config = {}) {
    write_services(service_toml("web", kWeb, {kOne}));
    lbd_->configure(more_config + file_source());
    ASSERT_TRUE(lbd_->start());
  }
};

TEST_F(Conflict, ListenerIsNamedAndKeepsItsClientsUntilItGoes) {
  Nginx nginx(file("nginx"), {5000});
  start_with_web();
  ASSERT_TRUE(becomes("web", "conflict"));
  // On a host with many processes a moment later.
  EXPECT_TRUE(eventually([&] {
    return lbd_->service("web").text.find(fmt::format("nginx (pid {})", nginx.pid())) !=
           std::string::npos;
  }));
  EXPECT_EQ(json_at(lbd_->json({"status"}), "/problems/0/condition"), "conflict");
  EXPECT_EQ(json_at(lbd_->json({"explain", kWeb}), "/outcome"), "direct");
  EXPECT_EQ(run({"curl", "-s", "http://127.0.0.1:5000/port"}).out, "5000");
  nginx.stop();
  const auto gone = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "1"; }));
  EXPECT_LE(std::chrono::steady_clock::now() - gone, promised(std::chrono::seconds(1)));
  EXPECT_TRUE(becomes("web", "ok"));
}

TEST_F(Conflict, WildcardListenerIsOneToo) {
  UniqueFd listener = listen_on("0.0.0.0:5000");
  start_with_web();
  ASSERT_TRUE(becomes("web", "conflict"));
  // On a host with many processes a moment later.
  EXPECT_TRUE(eventually([&] {
    return lbd_->service("web").text.find(fmt::format("(pid {})", ::getpid())) != std::string::npos;
  }));
  listener.reset();
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "1"; }));
}

TEST_F(Conflict, ListenerThatAppearsLaterIsOnlyReported) {
  serve_web({kOne});
  const UniqueFd listener = listen_on(kWeb);
  EXPECT_TRUE(eventually([&] {
    return warnings().find(fmt::format("(pid {})", ::getpid())) != std::string::npos;
  })) << warnings();
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  EXPECT_EQ(ask(kWeb), "1") << "also after a restart: the service was there first";
}

TEST_F(Conflict, ShadowTakesOverAtOnce) {
  const Server before(kWeb, "before");
  ASSERT_EQ(ask(kWeb), "before");
  start_with_web("[dataplane]\non_local_listener = \"shadow\"\n");
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Conflict, ListenerThatIsABackendIsNone) {
  write_services(service_toml("web", kOne, {kOne, kTwo}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_THAT(ask_often(kOne, 20), UnorderedElementsAre(Key("1"), Key("2")));
}

TEST_F(Conflict, OneServiceInConflictLeavesTheOthersAlone) {
  const UniqueFd listener = listen_on(kWeb);
  write_services(service_toml("web", kWeb, {kOne}) + service_toml("api", "127.0.0.1:5001", {kTwo}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "conflict") && becomes("api", "ok"));
  EXPECT_EQ(ask("127.0.0.1:5001"), "2");
}

}  // namespace
}  // namespace lb::test
