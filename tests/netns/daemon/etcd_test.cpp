// Services from a real etcd in Merlion's schema.
#include <gmock/gmock.h>

#include <chrono>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>

#include "netns/daemon/fixture.h"
#include "netns/sources/etcd_server.h"

namespace lb::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

class EtcdServices : public DaemonNetns {
 protected:
  void SetUp() override {
    if (!EtcdServer::installed()) GTEST_SKIP() << "needs /usr/bin/etcd";
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    etcd_ = std::make_unique<EtcdServer>(io_, sandbox_->folder());
    ASSERT_TRUE(etcd_->start());
    put("/conf/web/upstream-service-etcd-prefix", "/svc/web");
    put("/conf/web/listen-address", kWeb);
    put("/conf/web/upstream-freshness", "3600");
    lbd_->configure(
        fmt::format("[[source]]\ntype = \"etcd\"\nname = \"etcd\"\n"
                    "endpoints = [\"{}\"]\nprefixes = [\"/conf/web\"]\n",
                    etcd_->url()));
  }
  void TearDown() override {
    lbd_.reset();
    etcd_.reset();
    DaemonNetns::TearDown();
  }

  void put(const std::string& key, const std::string& value) { etcd_->put(key, value); }
  static std::string key(const std::string& name, const std::string& what) {
    return "/svc/web/" + name + "/" + what;
  }
  void add(const std::string& name, const std::string& address) {
    put(key(name, "last-seen-at"), now());
    put(key(name, "listen-address"), address);
  }
  void remove(const std::string& name) {
    for (const auto* what : {"listen-address", "last-seen-at"}) etcd_->remove(key(name, what));
  }
  static std::string now() {
    const std::time_t t = std::time(nullptr);
    char text[64];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&t));
    return text;
  }
  void serve_three() {
    add("a", kOne);
    add("b", kTwo);
    add("c", kThree);
    ASSERT_TRUE(lbd_->start());
    ASSERT_TRUE(becomes("web", "ok"));
  }
  std::string source(const std::string& field) const {
    return json_at(lbd_->json({"sources"}), "/sources/0/" + field);
  }

  boost::asio::io_context io_{1};
  std::unique_ptr<EtcdServer> etcd_;
};

TEST_F(EtcdServices, AreBalancedOverAllBackends) {
  serve_three();
  EXPECT_THAT(ask_often(kWeb, 30), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
  EXPECT_EQ(lbd_->backend("web", kOne).id, "a");
}

TEST_F(EtcdServices, DisabledBackendDrains) {
  serve_three();
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(connect_to(kWeb));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kTwo).active == 1; }));
  put(key("b", "disabled"), "true");
  ASSERT_TRUE(backend_becomes("web", kTwo, "disabled"));
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("1"), Key("3")));
  EXPECT_EQ(lbd_->backend("web", kTwo).active, 1);
  etcd_->remove(key("b", "disabled"));
  ASSERT_TRUE(backend_becomes("web", kTwo, "active"));
  EXPECT_EQ(lbd_->backend("web", kTwo).active, 1);
}

TEST_F(EtcdServices, DeletedKeysDrainTheBackend) {
  serve_three();
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(connect_to(kWeb));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kTwo).active == 1; }));
  remove("b");
  ASSERT_TRUE(backend_becomes("web", kTwo, "draining"));
  EXPECT_EQ(lbd_->backend("web", kTwo).reason, "source");
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("1"), Key("3")));
  clients.clear();
  EXPECT_TRUE(is_gone("web", kTwo));
}

TEST_F(EtcdServices, SigkillOfEtcdLosesNothingAndIsReported) {
  serve_three();
  etcd_->stop();
  ASSERT_TRUE(eventually([&] { return source("state") == "failing"; })) << source("state");
  EXPECT_THAT(source("error"), HasSubstr(etcd_->url()));
  EXPECT_THAT(ask_often(kWeb, 30), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
  EXPECT_EQ(lbd_->service("web").condition, "ok");

  ASSERT_TRUE(etcd_->start());
  remove("b");
  EXPECT_TRUE(eventually([&] { return source("state") == "ok"; }, std::chrono::seconds(10)));
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kTwo).effective_weight == 0; },
                         std::chrono::seconds(10)));
}

TEST_F(EtcdServices, SavedSnapshotServesWhileEtcdIsDownAtStart) {
  serve_three();
  EXPECT_EQ(lbd_->stop(), 0);
  ASSERT_EQ(run(lbd_->command("detach")).code, 0);  // as after a reboot
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  etcd_->stop();
  ASSERT_TRUE(lbd_->start());
  EXPECT_THAT(ask_often(kWeb, 30), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
  EXPECT_EQ(source("saved"), "true");
  EXPECT_TRUE(eventually([&] { return source("state") == "failing"; }));
}

TEST_F(EtcdServices, HalfWrittenKeysAreIgnoredAndNamed) {
  serve_three();
  put(key("d", "last-seen-at"), now());
  EXPECT_TRUE(eventually([&] {
    return source("warnings").find(key("d", "listen-address")) != std::string::npos;
  })) << source("warnings");
  EXPECT_EQ(lbd_->service("web").backends.size(), 3U);
  const Server fourth("127.0.0.1:7004", "4");
  put(key("d", "listen-address"), "127.0.0.1:7004");
  EXPECT_TRUE(backend_becomes("web", "127.0.0.1:7004", "active"));
  EXPECT_EQ(source("warnings"), "[]");
}

TEST_F(EtcdServices, JunkAndHugeValuesDisturbNobody) {
  serve_three();
  put(key("a", "listen-address"), std::string("\xff\x00\x01\"\\\n", 6));
  put(key("d", "listen-address"), std::string(1 << 20, 'x'));
  put(key("e", "listen-address"), "127.0.0.1:99999");
  put(std::string("/svc/web/\xfe\xff/listen-address"), kOne);
  EXPECT_TRUE(eventually(
      [&] {
        const std::string warnings = source("warnings");
        return warnings.find(key("a", "listen-address")) != std::string::npos &&
               warnings.find(key("d", "listen-address")) != std::string::npos &&
               warnings.find(key("e", "listen-address")) != std::string::npos;
      },
      30s))
      << source("warnings");
  EXPECT_LT(source("warnings").size(), 4000U) << "the value itself is not repeated";
  EXPECT_THAT(ask_often(kWeb, 30), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
  put(key("c", "listen-address"), kTwo);
  EXPECT_TRUE(eventually([] { return ask_often(kWeb, 10).count("3") == 0; }));
}

TEST_F(EtcdServices, BrokenConfigurationKeepsTheLastGood) {
  serve_three();
  put("/conf/web/listen-address", "nowhere");
  EXPECT_TRUE(eventually([&] {
    return lbd_->json({"sources"}).find("/conf/web/listen-address") != std::string::npos;
  })) << lbd_->json({"sources"});
  EXPECT_THAT(ask_often(kWeb, 30), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
}

}  // namespace
}  // namespace lb::test
