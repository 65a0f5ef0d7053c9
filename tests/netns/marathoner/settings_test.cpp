// What is set in labels and on command lines reaches the listeners: checks, balance, addresses, TLS.
#include "base/host_name.h"
#include "netns/marathoner/fixture.h"
#include "support/certificates.h"

#include <fmt/format.h>

namespace lb::test {
namespace {

class Settings : public MarathonerNetns {
 protected:
  void start(const FakeApp& app, int tasks) {
    start_marathons(1);
    marathon().add_app(app);
    for (int i = 0; i < tasks; ++i) launch(app.id, 31001);
  }
};

TEST_F(Settings, InLabelsReachTheListeners) {
  start({.id = "/web",
         .ports = {10001, 10002},
         .labels = {{"marathoner_haproxy_enabled", "true"},
                    {"LBD_BALANCE", "round-robin"},
                    {"LBD_1_BIND", "127.0.0.9"},
                    {"HAPROXY_1_PORT", "10009"}}},
        0);
  marathon().launch("/web", "10.79.200.77", {31001, 31002});
  start_updaters(1);
  start_listeners(1);
  ASSERT_TRUE(all_have("web", 1));
  const std::string json = listener(0).json({"list"});
  EXPECT_EQ(json_at(json, "/services/0/balance"), "round-robin");
  EXPECT_EQ(listener(0).service("web").listen, "127.0.0.1:10001");
  EXPECT_EQ(listener(0).service("web_1").listen, "127.0.0.9:10009");
}

TEST_F(Settings, OfHealthChecksMakeEachListenerLookForItself) {
  start({.id = "/web",
         .ports = {10001},
         .labels = {{"marathoner_haproxy_enabled", "true"},
                    {"LBD_HEALTH_CHECK", "tcp"},
                    {"LBD_HEALTH_INTERVAL", "200ms"}}},
        2);
  start_updaters(1);
  start_listeners(2);
  ASSERT_TRUE(all_have("web", 2));
  tasks_[0]->server.reset();  // Marathon does not notice
  EXPECT_TRUE(all_have("web", 1));
  EXPECT_EQ(listener(1).backend("web", tasks_[0]->address).reason, "probe-failed");
  EXPECT_EQ(updater(0).backend("web", tasks_[0]->address).reason, "") << "it looks at nothing";
  tasks_[0]->server = std::make_unique<Server>(tasks_[0]->address, tasks_[0]->address);
  EXPECT_TRUE(all_have("web", 2));
}

TEST_F(Settings, OfPortsAreTheListenersOwn) {
  start({.id = "/ssh", .ports = {22}}, 1);
  marathon().add_app({.id = "/web", .ports = {10001}});
  launch("/web", 31002);
  start_updaters(1);
  start_listeners(1);
  ASSERT_TRUE(all_have("web", 1)) << "the rest works";
  EXPECT_EQ(listener(0).service("ssh").condition, "refused");
  listeners_.push_back(std::make_unique<Host>(*sandbox_, "listener2", "10.79.3.2"));
  ASSERT_TRUE(listener(1).launch(listener(1).preset(
      "listener", {"-u", updater_addresses(), "-b", "127.0.0.1", "--ports", "22,1024-65535"})));
  EXPECT_TRUE(eventually([&] { return listener(1).service("ssh").condition == "ok"; }));
}

TEST_F(Settings, OfRequirePortsCollideOnTheAgentUntilItsTaskIsABackend) {
  start({.id = "/req", .ports = {10005}, .require_ports = true}, 0);
  marathon().launch("/req", "10.79.200.77", {10005});
  start_updaters(1);
  listeners_.push_back(std::make_unique<Host>(*sandbox_, "listener1", "10.79.3.1"));
  const Process task(listeners_[0]->wrap({"python3", "-u", "-m", "http.server", "10005"}),
                     listeners_[0]->file("task.log"));
  ASSERT_TRUE(eventually([&] { return task.log().find("Serving") != std::string::npos; }, 20s));
  ASSERT_TRUE(start_listener(0));
  EXPECT_TRUE(eventually([&] { return listener(0).service("req").condition == "conflict"; }, 20s));
  // The name comes a moment after the number.
  EXPECT_TRUE(eventually(
      [&] { return listener(0).service("req").text.find("python3") != std::string::npos; }, 20s))
      << listener(0).service("req").text;
  marathon().launch("/req", "10.79.3.1", {10005});
  EXPECT_TRUE(eventually([&] { return listener(0).service("req").condition == "ok"; }, 20s));
}

TEST_F(Settings, OfTlsKeepStrangersOut) {
  start({.id = "/web", .ports = {10001}}, 1);
  const Certificates certificates(sandbox_->folder() + "/certificates");
  certificates.sign("updater", "IP:10.79.2.1");
  certificates.sign("listener", "DNS:" + host_name());
  certificates.sign("stolen", "DNS:another");
  const std::string list = certificates.list("list");
  start_updaters(
      1, {"-i", "1", "--tls-cert", certificates.cert("updater"), "--tls-key",
          certificates.key("updater"), "--tls-client-ca", certificates.ca(), "--tls-crl", list});
  const std::string status = updater(0).json({"status"});
  EXPECT_EQ(status.find("plain TCP"), std::string::npos) << status;
  for (const int i : {1, 2, 3})
    listeners_.push_back(std::make_unique<Host>(*sandbox_, fmt::format("listener{}", i),
                                                fmt::format("10.79.3.{}", i)));
  const auto flags = [&](const std::string& name) {
    return Command{"-u",     updater_addresses(),
                   "--ca",   certificates.ca(),
                   "--cert", certificates.cert(name),
                   "--key",  certificates.key(name),
                   "--crl",  list};
  };
  ASSERT_TRUE(listener(0).launch(listener(0).preset("listener", flags("listener"))));
  EXPECT_TRUE(eventually([&] { return listener(0).service("web").backends.size() == 1; }, 10s));
  EXPECT_EQ(json_at(updater(0).json({"listeners"}), "/listeners/0/tls"), "true");
  ASSERT_TRUE(listener(1).launch(listener(1).preset("listener", {"-u", updater_addresses()})));
  EXPECT_TRUE(eventually(
      [&] {
        return json_at(listener(1).json({"sources"}), "/sources/0/error").find("TLS") !=
               std::string::npos;
      },
      10s))
      << listener(1).json({"sources"});
  EXPECT_TRUE(listener(1).list().empty());
  ASSERT_TRUE(listener(2).launch(listener(2).preset("listener", flags("stolen"))));
  EXPECT_TRUE(eventually(
      [&] {
        return json_at(listener(2).json({"sources"}), "/sources/0/error")
                   .find("the certificate names another, the node says " + host_name()) !=
               std::string::npos;
      },
      10s))
      << listener(2).json({"sources"});
}

// A server of an unprivileged user on a listener's host.
class LocalServer {
 public:
  explicit LocalServer(Host& host) : process_(host.wrap(kCommand), host.file("server.log")) {}

 private:
  inline static const Command kCommand{
      "setpriv",
      "--reuid",
      "54321",
      "--regid",
      "54321",
      "--clear-groups",
      "/usr/bin/python3",
      "-c",
      "import socket\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, "
      "socket.SO_REUSEADDR, 1)\ns.bind(('127.0.0.1', 15432))\ns.listen()\n"
      "while True:\n  c, _ = s.accept()\n  c.sendall(b'postgres')\n  c.close()\n"};
  Process process_;
};

TEST_F(Settings, OfAnAppDoNotTakeThePortOfARunningServer) {
  start({.id = "/other", .ports = {10001}}, 1);
  start_updaters(1);
  start_listeners(1);
  ASSERT_TRUE(all_have("other", 1));
  Host& host = *listeners_[0];
  const auto answer = [&] {
    return run(host.wrap({"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/15432; timeout 2 cat <&3"}))
        .out;
  };
  std::optional<LocalServer> server(std::in_place, host);
  ASSERT_TRUE(eventually([&] { return answer() == "postgres"; }, 20s));
  marathon().add_app({.id = "/tenant", .ports = {15432}});
  launch("/tenant", 31002);
  ASSERT_TRUE(
      eventually([&] { return listener(0).service("tenant").condition == "conflict"; }, 20s));
  EXPECT_EQ(answer(), "postgres");

  // Given up, the port is lbd's: who comes now, comes later.
  server.reset();
  ASSERT_TRUE(eventually([&] { return listener(0).service("tenant").condition == "ok"; }, 20s));
  marathon().remove_app("/tenant");
  ASSERT_TRUE(eventually([&] { return listener(0).service("tenant").condition == "(none)"; }, 20s));
  server.emplace(host);
  ASSERT_TRUE(eventually([&] { return answer() == "postgres"; }, 20s));
  marathon().add_app({.id = "/tenant", .ports = {15432}});
  const std::string address = launch("/tenant", 31003).address;
  ASSERT_TRUE(eventually([&] { return listener(0).service("tenant").condition == "ok"; }, 20s));
  EXPECT_EQ(answer(), address);
}

}  // namespace
}  // namespace lb::test
