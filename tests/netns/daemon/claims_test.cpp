// Who writes an etcd prefix decides where a service is within what the host allows, and nowhere else.
#include <gmock/gmock.h>

#include <ctime>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>

#include "netns/daemon/fixture.h"
#include "netns/sources/etcd_server.h"

namespace lb::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr auto kDatabase = "10.20.30.40:5432";
constexpr auto kOfHost = "10.9.0.1:5000";

class ForeignClaims : public DaemonNetns {
 protected:
  void SetUp() override {
    if (!EtcdServer::installed()) GTEST_SKIP() << "needs /usr/bin/etcd";
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(run({"ip", "address", "add", "10.9.0.1/32", "dev", "lo"}).code, 0);
    etcd_ = std::make_unique<EtcdServer>(io_, sandbox_->folder());
    ASSERT_TRUE(etcd_->start());
    etcd_->put("/conf/web/upstream-service-etcd-prefix", "/svc/web");
    etcd_->put("/conf/web/upstream-freshness", "3600");
    etcd_->put("/svc/web/a/listen-address", kOne);
    etcd_->put("/svc/web/a/last-seen-at", now());
  }
  void TearDown() override {
    lbd_.reset();
    etcd_.reset();
    DaemonNetns::TearDown();
  }
  static std::string now() {
    const std::time_t t = std::time(nullptr);
    char text[64];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&t));
    return text;
  }
  void claim(const std::string& address) { etcd_->put("/conf/web/listen-address", address); }
  void configure(const std::string& more = {}, const std::string& before = {},
                 const std::string& url = {}) {
    lbd_->configure(before + fmt::format("[[source]]\ntype = \"etcd\"\nname = \"etcd\"\n"
                                         "endpoints = [\"{}\"]\nprefixes = [\"/conf/web\"]\n{}",
                                         url.empty() ? etcd_->url() : url, more));
  }
  [[nodiscard]] std::string port() const { return etcd_->url().substr(etcd_->url().rfind(':')); }

  boost::asio::io_context io_{1};
  std::unique_ptr<EtcdServer> etcd_;
};

// Row 1: connects to a database elsewhere go to the tenant's task.
TEST_F(ForeignClaims, OfAnAddressThatIsNotAllowedAreRefusedAndTheHostAllowsThem) {
  claim(kDatabase);
  configure();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "refused"));
  EXPECT_THAT(lbd_->service("web").text,
              HasSubstr("addresses = [\"::1\", \"10.20.30.40\", \"127.0.0.0/8\"]"));
  EXPECT_THAT(lbd_->json({"status"}), HasSubstr("10.20.30.40, which is not this host's"));
  EXPECT_THAT(lbd_->log(), HasSubstr("refused: not programmed: 10.20.30.40"));
  EXPECT_NE(ask(kDatabase), "1");
  EXPECT_EQ(json_at(lbd_->json({"explain", kDatabase}), "/outcome"), "direct");

  configure("addresses = [\"10.20.30.40\"]\n");
  lbd_->reload();
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_EQ(ask(kDatabase), "1") << "a virtual address for local clients";
  EXPECT_THAT(lbd_->json({"status"}), Not(HasSubstr("clients of other hosts")))
      << "which is published to nobody";
  configure();
  lbd_->reload();
  ASSERT_TRUE(becomes("web", "refused"));
  EXPECT_NE(ask(kDatabase), "1");
}

// Row 2: a wildcard publishes to the outside world.
TEST_F(ForeignClaims, OfAWildcardAreNarrowedToWhatTheHostPublishes) {
  claim("0.0.0.0:5000");
  etcd_->put("/svc/web/b/listen-address", "192.0.2.9:80");
  etcd_->put("/svc/web/b/last-seen-at", now());
  configure();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "local-only"));
  EXPECT_THAT(lbd_->service("web").text, HasSubstr("[publish]"));
  etcd_->remove("/svc/web/b/listen-address");
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "1"; }));
  EXPECT_NE(ask(kOfHost), "1");
  EXPECT_THAT(lbd_->json({"status"}), Not(HasSubstr("clients of other hosts: ")))
      << "nothing was opened for others";
  EXPECT_FALSE(std::filesystem::exists(lbd_->state_dir + "/nft-sysctls.json"));
  EXPECT_FALSE(std::filesystem::exists(lbd_->state_dir + "/sysctls.json"));

  configure("", "[publish]\naddress = \"10.9.0.1\"\n");
  lbd_->reload();
  EXPECT_TRUE(eventually([] { return ask(kOfHost) == "1"; }));
}

TEST_F(ForeignClaims, AreJudgedAgainWhenTheAddressesOfTheHostComeAndGo) {
  claim("0.0.0.0:5000");
  configure("", "[publish]\naddress = \"0.0.0.0\"\n");
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([] { return ask(kOfHost) == "1"; }));
  claim(kOfHost);
  ASSERT_TRUE(eventually([&] { return lbd_->service("web").listen == kOfHost; }));
  EXPECT_TRUE(eventually([] { return ask(kOfHost) == "1"; }));
  ASSERT_EQ(run({"ip", "address", "del", "10.9.0.1/32", "dev", "lo"}).code, 0);
  ASSERT_TRUE(becomes("web", "refused"));
  ASSERT_EQ(run({"ip", "address", "add", "10.9.0.1/32", "dev", "lo"}).code, 0);
  EXPECT_TRUE(eventually([] { return ask(kOfHost) == "1"; }));
}

TEST_F(ForeignClaims, OfMerlionsPrefixAreTheOperatorsWordUnlessHeBinds) {
  claim("0.0.0.0:5000");
  ASSERT_TRUE(lbd_->launch(lbd_->preset("merlion", {"/conf/web", "--etcd", etcd_->url()})));
  EXPECT_TRUE(eventually([] { return ask(kOfHost) == "1"; }));
  EXPECT_EQ(lbd_->stop(), 0);
  ASSERT_TRUE(lbd_->launch(
      lbd_->preset("merlion", {"/conf/web", "--etcd", etcd_->url(), "-b", "127.0.0.1"})));
  ASSERT_TRUE(becomes("web", "local-only"));
  EXPECT_NE(ask(kOfHost), "1");
  EXPECT_EQ(ask(kWeb), "1");
}

// Who claims the address of lbd's etcd would become it.
TEST_F(ForeignClaims, OfWhereLbdItselfConnectsAreRefused) {
  claim("127.0.0.1" + port());
  configure("", "[dataplane]\non_local_listener = \"shadow\"\n");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "refused"));
  EXPECT_THAT(lbd_->service("web").text, HasSubstr("lbd itself connects there: it is the etcd"));
}

TEST_F(ForeignClaims, OfWhereItConnectsByNameAreWarnedOfAndTakeNoneOfItsConnections) {
  claim("127.0.0.1" + port());
  configure("", "[dataplane]\non_local_listener = \"shadow\"\n", "http://localhost" + port());
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([&] { return ask("127.0.0.1" + port()) == "1"; }))
      << "other programs are steered";
  EXPECT_TRUE(eventually([&] {
    return lbd_->json({"status"}).find("where lbd itself connects as to") != std::string::npos;
  }));
  // lbd dials again after each restart of its own.
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([&] {
    return json_at(lbd_->json({"sources"}), "/sources/0/state") == "ok";
  })) << lbd_->json({"sources"});
}

using OwnCgroup = DaemonNetns;

// An updater without privileges cannot mark its sockets.
TEST_F(OwnCgroup, OfAnotherLbdIsNotSteered) {
  const std::string child = sandbox_->cgroup() + "/updater";
  const std::string root = run({"findmnt", "-n", "-f", "-t", "cgroup2", "-o", "TARGET"}).out;
  const std::string mount = root.substr(0, root.find('\n'));
  ASSERT_TRUE(sandbox_->cgroup().starts_with(mount)) << mount;
  write_services(service_toml("web", kWeb, {kOne}));
  lbd_->configure(
      fmt::format("[dataplane]\nown_cgroups = [\"{}\"]\n", child.substr(mount.size() + 1)) +
      file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  const auto asked_there = [&] {
    return run({"bash", "-c",
                fmt::format(
                    "echo $$ > {}/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/5000 && head -c 1 <&3",
                    child)})
        .out;
  };
  EXPECT_EQ(ask(kWeb), "1");
  ASSERT_TRUE(std::filesystem::create_directory(child));
  EXPECT_TRUE(eventually([&] { return asked_there() != "1"; }))
      << "it means what it says, and nothing listens there";
  EXPECT_EQ(ask(kWeb), "1") << "others are steered";
  // Who was in it leaves it a moment after its end.
  const auto is_removed = [&] {
    std::error_code busy;
    return std::filesystem::remove(child, busy);
  };
  ASSERT_TRUE(eventually(is_removed));
  ASSERT_TRUE(std::filesystem::create_directory(child));
  EXPECT_TRUE(eventually([&] { return asked_there() != "1"; })) << "after it was started again";
  EXPECT_TRUE(eventually(is_removed));
}

}  // namespace
}  // namespace lb::test
