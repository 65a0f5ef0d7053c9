// Somebody else listens on the service's port.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>

#include <fmt/format.h>

#include "netns/daemon/as_user.h"
#include "netns/daemon/fixture.h"
#include "netns/daemon/nginx.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using testing::Key;
using testing::UnorderedElementsAre;

constexpr int kAlice = 54'321;  // no user of this machine

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

// --- who keeps a port

TEST_F(Conflict, UnprivilegedUserAtTheStartDoesNotGetAServiceOfFiles) {
  const auto squatter = server_of(kAlice, kWeb, "squatter");
  ASSERT_EQ(ask(kWeb), "squatter");
  start_with_web();
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_TRUE(eventually([&] {
    return warnings().find(fmt::format("(pid {}) of uid {} listens on {}", ::getpid(), kAlice,
                                       kWeb)) != std::string::npos;
  })) << warnings();
  EXPECT_NE(lbd_->log().find(fmt::format("uid {} is neither root nor", kAlice)), std::string::npos);
  // His socket stays.
  lbd_->stop();
  ASSERT_EQ(run(lbd_->preset("detach", {})).code, 0);
  EXPECT_EQ(ask(kWeb), "squatter");
}

TEST_F(Conflict, UnprivilegedUserDoesNotGetAServiceThatIsAwayForAMoment) {
  serve_web({kOne});
  write_services("# none for a moment\n");
  ASSERT_TRUE(becomes("web", "(none)"));
  const auto squatter = server_of(kAlice, kWeb, "squatter");
  write_services(service_toml("web", kWeb, {kOne}));
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Conflict, UnprivilegedUserDoesNotGetAServiceAfterAReboot) {
  serve_web({kOne});
  lbd_->stop();
  const std::string held = read_text(lbd_->state_dir + "/held.json");
  ASSERT_EQ(run(lbd_->preset("detach", {})).code, 0);  // the kernel has nothing, as after a boot
  replace_file(lbd_->state_dir + "/held.json", held);
  const auto squatter = server_of(kAlice, kWeb, "squatter");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Conflict, UserThatIsYieldedToKeepsHisPort) {
  const auto haproxy = server_of(kAlice, kWeb, "haproxy");
  start_with_web(fmt::format("[dataplane]\nyield_to = [\"{}\"]\n", kAlice));
  ASSERT_TRUE(becomes("web", "conflict"));
  EXPECT_EQ(ask(kWeb), "haproxy");
}

TEST_F(Conflict, YieldToEverybodyLeavesThePortToWhoIsThere) {
  const auto server = server_of(kAlice, kWeb, "there");
  start_with_web("[dataplane]\nyield_to = [\"*\"]\n");
  ASSERT_TRUE(becomes("web", "conflict"));
  EXPECT_EQ(ask(kWeb), "there");
}

// Users 0 to 999 of the process's user namespace are 100000 to 100999 here.
bool map_users(pid_t pid) {
  for (const char* kind : {"uid", "gid"}) {
    std::ofstream map(fmt::format("/proc/{}/{}_map", pid, kind));
    if (!(map << "0 100000 1000\n" << std::flush)) return false;
  }
  return true;
}

// As HAProxy's image does: uid 99 in a user namespace of its own, the network is the host's.
TEST_F(Conflict, ListenerOfAContainerIsKnownByItsUserOnTheHost) {
  const Process haproxy(
      {"python3", "-c",
       "import ctypes, os, socket, time\n"
       "assert ctypes.CDLL(None).unshare(0x10000000 | 0x20000) == 0\n"  // user, mount
       "while not open('/proc/self/gid_map').read(): time.sleep(0.05)\n"
       "os.setgroups([])\nos.setresgid(99, 99, 99)\nos.setresuid(99, 99, 99)\n"
       "s = socket.socket()\ns.bind(('127.0.0.1', 5000))\ns.listen()\n"
       "while True:\n  c, _ = s.accept()\n  c.sendall(b'haproxy')\n  c.close()\n"},
      file("haproxy.log"));
  ASSERT_TRUE(eventually([&] { return map_users(haproxy.pid()); }));
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "haproxy"; }, std::chrono::seconds(20)))
      << haproxy.log();
  start_with_web("[dataplane]\nyield_to = [\"99\"]\n");
  ASSERT_TRUE(becomes("web", "ok")) << "99 is another user on the host";
  EXPECT_EQ(ask(kWeb), "1");
  lbd_->stop();
  ASSERT_EQ(run(lbd_->preset("detach", {})).code, 0);
  ASSERT_NO_FATAL_FAILURE(start_with_web("[dataplane]\nyield_to = [\"100099\"]\n"));
  ASSERT_TRUE(becomes("web", "conflict"));
  EXPECT_EQ(ask(kWeb), "haproxy");
}

}  // namespace
}  // namespace lb::test
