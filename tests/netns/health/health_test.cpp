// Health checks of a real lbd: real servers that die, misbehave and come back.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"
#include "netns/daemon/nginx.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

constexpr auto kQuickTcp = R"(health = { interval = "100ms", timeout = "1s", rise = 2, fall = 3 })";
constexpr auto kQuickHttp =
    R"(health = { type = "http", path = "/health", interval = "100ms", timeout = "1s", rise = 2, fall = 3 })";

class Health : public DaemonNetns {
 protected:
  // "web" on `at` with these backends and this health = line.
  void serve(const std::vector<std::string>& backends, std::string_view check,
             std::string_view at = kWeb) {
    write_services(service_toml("web", at, backends, check));
    lbd_->configure(file_source());
    ASSERT_TRUE(lbd_->start());
    ASSERT_TRUE(becomes("web", "ok"));
  }
  // Answers /health with 503 while the file PORT.ill is there, and / with its port at all times.
  std::unique_ptr<Process> start_nginx(const std::vector<int>& ports) {
    const std::string folder = file("ill");
    std::filesystem::create_directories(folder);
    std::string servers;
    for (const int port : ports)
      servers += fmt::format(
          "server {{ listen 127.0.0.1:{0}; access_log {1}/{0}.log;\n"
          "  location = /health {{ if (-f {1}/{0}.ill) {{ return 503; }} return 204; }}\n"
          "  location / {{ return 200 {0}; }}\n}}\n",
          port, folder);
    replace_file(folder + "/nginx.conf",
                 fmt::format("daemon off; master_process off; pid {0}/pid; error_log {0}/error;\n"
                             "events {{}}\nhttp {{\nclient_body_temp_path {0}/a; proxy_temp_path "
                             "{0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; "
                             "scgi_temp_path {0}/e;\n{1}}}\n",
                             folder, servers));
    auto nginx = std::make_unique<Process>(
        Command{"nginx", "-p", folder, "-e", folder + "/error", "-c", folder + "/nginx.conf"},
        folder + "/out");
    for (const int port : ports)
      EXPECT_TRUE(eventually(
          [&] { return static_cast<bool>(connect_to(fmt::format("127.0.0.1:{}", port))); }));
    return nginx;
  }
  void make_ill(int port) const { replace_file(fmt::format("{}/{}.ill", file("ill"), port), ""); }
  void make_well(int port) const {
    std::filesystem::remove(fmt::format("{}/{}.ill", file("ill"), port));
  }
  std::string why(std::string_view backend) const {
    const std::string json = lbd_->json({"explain", kWeb});
    for (int i = 0; i < json_size(json, "/backends"); ++i) {
      const std::string at = fmt::format("/backends/{}", i);
      if (json_at(json, at + "/address") + ":" + json_at(json, at + "/port") == backend)
        return json_at(json, at + "/why");
    }
    return "(none) " + json;
  }
};

TEST_F(Health, KilledBackendIsOutAndComesBackWhenItWorksAgain) {
  auto first = std::make_unique<Nginx>(file("first"), std::vector{7101});
  const Nginx second(file("second"), {7102});
  serve({"127.0.0.1:7101", "127.0.0.1:7102"},
        R"(health = { interval = "200ms", timeout = "1s", rise = 2, fall = 3 })");
  first->stop();
  const auto killed = steady_clock::now();
  ASSERT_TRUE(backend_becomes("web", "127.0.0.1:7101", "down"));
  // Four intervals at most, and what a busy machine takes.
  EXPECT_LT(steady_clock::now() - killed, promised(800ms + 1s));
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7101").reason, "probe-failed");
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7101").effective_weight, 0);
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  EXPECT_THAT(why("127.0.0.1:7101"), HasSubstr("connect: Connection refused"));
  first = std::make_unique<Nginx>(file("first"), std::vector{7101});
  EXPECT_TRUE(backend_becomes("web", "127.0.0.1:7101", "active"));
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7101").effective_weight, 100);
}

TEST_F(Health, BadStatusTakesABackendOutThatStillAccepts) {
  const auto nginx = start_nginx({7101, 7102});
  serve({"127.0.0.1:7101", "127.0.0.1:7102"}, kQuickHttp);
  make_ill(7102);
  ASSERT_TRUE(backend_becomes("web", "127.0.0.1:7102", "down"));
  EXPECT_THAT(why("127.0.0.1:7102"), HasSubstr("GET /health: status 503"));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run({"curl", "-s", "http://127.0.0.1:5000/"}).out, "7101");
  make_well(7102);
  EXPECT_TRUE(backend_becomes("web", "127.0.0.1:7102", "active"));
}

TEST_F(Health, BlackHoleTimesOut) {
  for (const Command& command :
       std::vector<Command>{{"nft", "add table ip hole"},
                            {"nft", "add chain ip hole in { type filter hook input priority 0; }"},
                            {"nft", "add rule ip hole in tcp dport 7002 drop"}})
    ASSERT_EQ(run(command).code, 0);
  serve({kOne, kTwo}, R"(health = { interval = "100ms", timeout = "150ms", fall = 2 })");
  ASSERT_TRUE(backend_becomes("web", kTwo, "down"));
  EXPECT_THAT(why(kTwo), HasSubstr("connect within 150ms: Connection timed out"));
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1")));
  ASSERT_EQ(run({"nft", "delete table ip hole"}).code, 0);
  EXPECT_TRUE(backend_becomes("web", kTwo, "active"));
}

TEST_F(Health, UnroutedAddressIsDown) {
  serve({kOne, "10.200.0.1:80"}, kQuickTcp);
  ASSERT_TRUE(backend_becomes("web", "10.200.0.1:80", "down"));
  EXPECT_THAT(why("10.200.0.1:80"), HasSubstr("Network is unreachable"));
}

TEST_F(Health, WhenAllAreDownAllStayInUse) {
  const auto nginx = start_nginx({7101, 7102});
  serve({"127.0.0.1:7101", "127.0.0.1:7102"}, kQuickHttp);
  make_ill(7101);
  make_ill(7102);
  ASSERT_TRUE(becomes("web", "fail-open"));
  std::map<std::string, int> answers;
  for (int i = 0; i < 20; ++i) ++answers[run({"curl", "-s", "http://127.0.0.1:5000/"}).out];
  EXPECT_EQ(answers["7101"] + answers["7102"], 20);
  make_well(7101);
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(run({"curl", "-s", "http://127.0.0.1:5000/"}).out, "7101");
}

TEST_F(Health, RestartBringsNoDeadBackendBack) {
  serve({kOne, kTwo}, kQuickTcp);
  servers_[0].reset();
  ASSERT_TRUE(backend_becomes("web", kOne, "down"));
  const std::string since = lbd_->backend("web", kOne).since;
  ASSERT_TRUE(eventually(
      [&] { return read_text(lbd_->state_dir + "/health.json").find(kOne) != std::string::npos; }));
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  EXPECT_EQ(lbd_->backend("web", kOne).state, "down") << "at once";
  EXPECT_EQ(lbd_->backend("web", kOne).since, since) << "and not found out anew";
  servers_[0] = std::make_unique<Server>(kOne, "1");
  EXPECT_TRUE(backend_becomes("web", kOne, "active"));
}

TEST_F(Health, ProbesAreNoConnectionsOfTheBackend) {
  serve({kOne, kTwo}, kQuickTcp);
  EXPECT_TRUE(eventually([&] { return servers_[0]->accepted() >= 20; }));
  for (const auto* address : {kOne, kTwo}) {
    const ListedBackend backend = lbd_->backend("web", address);
    EXPECT_EQ(backend.state, "active");
    EXPECT_EQ(backend.active, 0);
    EXPECT_EQ(backend.total, 0);
  }
}

TEST_F(Health, ProbeUnderWayIsNoConnectionOfTheBackend) {
  // Accepts and says nothing, so that the probe stays.
  const UniqueFd silent = listen_on("127.0.0.1:7201");
  serve({"127.0.0.1:7201"},
        R"(health = { type = "http", interval = "100ms", timeout = "30s", fall = 1 })");
  const auto probing = [] {
    return run({"ss", "-tnH", "state", "established", "dport", "=", ":7201"}).out;
  };
  ASSERT_TRUE(eventually([&] { return !probing().empty(); }));
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7201").active, 0);
  const UniqueFd client = connect_to(kWeb);
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", "127.0.0.1:7201").active == 1; }));
  EXPECT_FALSE(probing().empty());
}

TEST_F(Health, ProbeOfABackendThatIsAServiceReachesTheBackendItself) {
  // Balanced, the probe of 7001 would find 7002 at work.
  serve({kOne, kTwo}, kQuickTcp, kOne);
  servers_[0].reset();
  ASSERT_TRUE(backend_becomes("web", kOne, "down"));
  EXPECT_EQ(ask(kOne), "2") << "what others connect to is balanced";
  servers_[0] = std::make_unique<Server>(kOne, "1");
  ASSERT_TRUE(backend_becomes("web", kOne, "active"));
  EXPECT_EQ(lbd_->backend("web", kOne).total, 0);
  EXPECT_EQ(lbd_->backend("web", kTwo).total, 1) << "the one of this test";
}

TEST_F(Health, HttpProbeOfABackendThatIsAServiceReachesTheBackendItself) {
  const auto nginx = start_nginx({7101, 7102});
  serve({"127.0.0.1:7101", "127.0.0.1:7102"}, kQuickHttp, "127.0.0.1:7101");
  make_ill(7101);
  ASSERT_TRUE(backend_becomes("web", "127.0.0.1:7101", "down"));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run({"curl", "-s", "http://127.0.0.1:7101/"}).out, "7102");
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7102").state, "active");
}

TEST_F(Health, DrainGoesOnWhateverTheProbesSay) {
  serve({kOne, kTwo}, kQuickTcp);
  UniqueFd client = connect_to(kWeb);
  for (int i = 0; i < 100 && read_all_now(client) != "1"; ++i) client = connect_to(kWeb);
  const Finished drained = lbd_->ctl({"drain", kOne});
  ASSERT_EQ(drained.code, 0) << drained.err;
  const int before = servers_[0]->accepted();
  EXPECT_TRUE(eventually([&] { return servers_[0]->accepted() >= before + 5; })) << "looked at";
  EXPECT_EQ(lbd_->backend("web", kOne).state, "draining");
  EXPECT_EQ(lbd_->backend("web", kOne).active, 1);
  client.reset();
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "10s"}).code, 0);
  EXPECT_EQ(lbd_->backend("web", kOne).state, "draining");
}

TEST_F(Health, CheckThatIsRemovedTakesItsVerdictWithIt) {
  serve({kOne, kTwo}, kQuickTcp);
  servers_[0].reset();
  ASSERT_TRUE(backend_becomes("web", kOne, "down"));
  write_services(service_toml("web", kWeb, {kOne, kTwo}));
  EXPECT_TRUE(backend_becomes("web", kOne, "active"));
}

TEST_F(Health, ServicesOwnDrainTimeoutCounts) {
  const auto write = [&](const std::vector<std::string>& backends) {
    write_services(service_toml("web", kWeb, backends, "drain_timeout = \"300ms\""));
  };
  write({kOne});
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  const UniqueFd client = connect_to(kWeb);
  write({kTwo});
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).reason == "lingering"; }))
      << "and not after the 60s of [drain] timeout";
  EXPECT_EQ(lbd_->backend("web", kOne).active, 1);
}

}  // namespace
}  // namespace lb::test
