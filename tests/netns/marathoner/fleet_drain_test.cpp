// `lbctl drain --fleet`: a backend is drained on every listener, whatever is killed meanwhile.
#include "netns/marathoner/fixture.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "relay/message.h"
#include "relay/order_signature.h"

namespace lb::test {
namespace {

class FleetDrain : public MarathonerNetns {
 protected:
  void SetUp() override { MarathonerNetns::SetUp(); }

  void start(int listeners) {
    start_marathons(1);
    marathon().add_app({.id = "/web", .ports = {10001}});
    for (int i = 0; i < 2; ++i) launch("/web", 31001);
    start_updaters(3);
    start_listeners(listeners);
    ASSERT_TRUE(all_have("web", 2));
    ASSERT_TRUE(eventually(
        [&] {
          for (std::size_t i = 0; i < 3; ++i)
            if (connected_to(i) != listeners) return false;
          return true;
        },
        20s));
  }

  // As listeners know it.
  [[nodiscard]] std::string address_of(std::size_t i) const {
    std::string all = updater_addresses();
    for (; i > 0; --i) all.erase(0, all.find(',') + 1);
    return all.substr(0, all.find(','));
  }
  [[nodiscard]] int connected_to(std::size_t i) {
    const std::string json = updater(i).json({"listeners"});
    int connected = 0;
    for (int k = 0; k < json_size(json, "/listeners"); ++k)
      connected += json_at(json, fmt::format("/listeners/{}/connected", k)) == "true";
    return connected;
  }
  [[nodiscard]] bool drains_everywhere(const std::string& address) {
    for (const auto& host : listeners_)
      if (const auto b = host->lbd().backend("web", address);
          b.state != "draining" || b.reason != "operator")
        return false;
    return true;
  }
  [[nodiscard]] std::string fleet_json(std::size_t i, const std::string& target) {
    return run({"curl", "-s", "--unix-socket", updater(i).socket(),
                "http://lbd/v1/fleet/drains?target=" + target})
        .out;
  }
  [[nodiscard]] int sum(std::size_t i, const std::string& target) {
    const std::string sum = json_at(fleet_json(i, target), "/connections");
    return sum.starts_with('(') ? -1 : std::stoi(sum);
  }
  // As a logger, for which no drain waits, to the first updater.
  void carry(const FleetOrder& order) {
    relay::ListenerHello hello;
    hello.node = "tenant";
    hello.version = "0.1.0";
    hello.observes = true;
    hello.orders = {order};
    const std::string said = sandbox_->folder() + "/said";
    std::ofstream(said) << relay::encode(hello);
    const std::string where = address_of(0);
    const auto told = run(listeners_[0]->wrap(
        {"python3", "-c",
         fmt::format(
             "import socket;s=socket.create_connection(('{}',7676));s.sendall(open('{}','rb')"
             ".read());f=s.makefile('rb');print(f.readline(),f.readline())",
             where.substr(0, where.find(':')), said)}));
    ASSERT_EQ(told.code, 0) << told.err;
  }
  // A client on a host that holds connections and makes no new ones.
  std::unique_ptr<Process> hold(std::size_t i, int connections) {
    const std::string script = fmt::format(
        "import socket,time\nheld=[socket.create_connection(('127.0.0.1',10001)) for _ in "
        "range({})]\nfor s in held: s.recv(64)\nprint('held',flush=True)\ntime.sleep(600)\n",
        connections);
    const std::string log = listeners_[i]->file("hold.log");
    auto out = std::make_unique<Process>(listeners_[i]->wrap({"python3", "-c", script}), log);
    EXPECT_TRUE(eventually([&] { return read_text(log).find("held") != std::string::npos; }, 20s));
    return out;
  }
};

TEST_F(FleetDrain, WaitsForTheLastConnectionOfAllListeners) {
  start(3);
  const std::string target = tasks_[0]->address;
  std::vector<std::unique_ptr<Process>> held;
  for (std::size_t i = 0; i < 3; ++i) held.push_back(hold(i, 4));
  int mine = 0;
  for (std::size_t i = 0; i < 3; ++i)
    mine += static_cast<int>(listener(i).backend("web", target).active);
  ASSERT_GT(mine, 0);
  const std::string log = sandbox_->folder() + "/drain.log";
  Process drain({program("lbctl"), "--socket", updater(0).socket(), "drain", "--fleet", target,
                 "--wait", "--timeout", "120s"},
                log);
  EXPECT_TRUE(eventually([&] { return drains_everywhere(target); }, 20s)) << read_text(log);
  EXPECT_TRUE(eventually([&] { return sum(0, target) == mine; }, 10s)) << sum(0, target);
  EXPECT_TRUE(eventually([&] { return sum(2, target) == mine; }, 10s))
      << "every updater knows the sum";
  held[0].reset();
  held[1].reset();
  EXPECT_TRUE(drain.running()) << "one listener still has connections: " << read_text(log);
  EXPECT_FALSE(drain.wait(1s).has_value());
  held[2].reset();
  EXPECT_EQ(drain.wait(40s).value_or(-1), 0) << read_text(log);
  EXPECT_NE(read_text(log).find("No connection left on any of 3 listeners"), std::string::npos)
      << read_text(log);
  // And back again.
  ASSERT_EQ(updater(1).ctl({"undrain", "--fleet", target}).code, 0);
  EXPECT_TRUE(all_have("web", 2));
}

TEST_F(FleetDrain, SurvivesTheDeathOfUpdatersAndListeners) {
  start(12);
  const std::string target = tasks_[0]->address;
  std::vector<std::unique_ptr<Process>> held;
  for (std::size_t i = 0; i < 12; ++i) held.push_back(hold(i, 2));
  int mine = 0;
  for (std::size_t i = 0; i < 12; ++i)
    mine += static_cast<int>(listener(i).backend("web", target).active);
  ASSERT_GT(mine, 0);
  const std::string log = sandbox_->folder() + "/drain.log";
  Process drain({program("lbctl"), "--socket", updater(0).socket(), "drain", "--fleet", target,
                 "--wait", "--timeout", "280s"},
                log);
  ASSERT_TRUE(eventually([&] { return drains_everywhere(target); }, 20s)) << read_text(log);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
    updater(i).kill();
    EXPECT_TRUE(drains_everywhere(target)) << "updater " << i << " died";
    if (i == 1) std::filesystem::remove_all(updater(i).state_dir);  // it has forgotten everything
    ASSERT_TRUE(start_updater(i));
    EXPECT_TRUE(eventually([&] { return connected_to(i) == 12; }, 20s));
    EXPECT_TRUE(eventually([&] { return sum(i, target) == mine; }, 20s)) << sum(i, target);
    EXPECT_TRUE(drains_everywhere(target)) << "updater " << i << " came back";
    EXPECT_TRUE(drain.running()) << read_text(log);
  }
  listener(5).kill();
  ASSERT_TRUE(start_listener(5));
  EXPECT_TRUE(eventually([&] { return drains_everywhere(target); }, 10s)) << "a listener restarted";
  EXPECT_TRUE(eventually([&] { return sum(0, target) == mine; }, 20s)) << sum(0, target);
  for (std::size_t i = 0; i < 11; ++i) held[i].reset();
  const auto last = static_cast<int>(listener(11).backend("web", target).active);
  EXPECT_TRUE(eventually([&] { return sum(0, target) == last; }, 20s)) << sum(0, target);
  EXPECT_TRUE(last == 0 || drain.running()) << read_text(log);
  held[11].reset();
  EXPECT_EQ(drain.wait(60s).value_or(-1), 0) << read_text(log);
}

// Who reaches the port of an updater carries what he likes: unsigned, or signed by a key of his own.
TEST_F(FleetDrain, OrderThatNoUpdaterHasSignedDrainsNothing) {
  start(2);
  const std::string target = tasks_[0]->address;
  const OrderSigner own = OrderSigner::open(sandbox_->folder() + "/tenant.key").value();
  FleetOrder order{
      .id = "no-key", .time = sys_now(), .target = target, .service = "", .drain = true, .ids = {}};
  carry(order);
  EXPECT_TRUE(eventually([&] {
    return updater(0).log().find("fleet drains are not taken over") != std::string::npos;
  }));
  order.id = "own-key";
  ASSERT_TRUE(own.sign(order, sys_now() + std::chrono::hours(1)));
  carry(order);
  for (const auto& host : listeners_) EXPECT_EQ(host->lbd().backend("web", target).state, "active");
  // Nothing of it is in the way of an operator, nor is one by the id of the operator's own order.
  ASSERT_EQ(updater(0).ctl({"drain", "--fleet", target}).code, 0);
  EXPECT_TRUE(drains_everywhere(target));
  order.id = json_at(fleet_json(0, target), "/id");
  ASSERT_EQ(order.id.size(), 36U) << order.id;
  order.target = tasks_[1]->address;
  order.time = sys_now();
  ASSERT_TRUE(own.sign(order, sys_now() + std::chrono::hours(1)));
  carry(order);
  ASSERT_TRUE(eventually([&] {
    return listener(0).ctl({"status"}).out.find(order.target + " is signed") != std::string::npos;
  })) << listener(0).ctl({"status"}).out;
  const auto waited = updater(0).ctl({"drain", "--fleet", target, "--wait", "--timeout", "40s"});
  EXPECT_EQ(waited.code, 0) << waited.err;
  EXPECT_EQ(listener(0).backend("web", order.target).state, "active");
}

TEST_F(FleetDrain, UpdaterThatWasInstalledAgainIsTakenWhenAnOperatorSaysSo) {
  start(2);
  const std::string target = tasks_[0]->address;
  ASSERT_EQ(updater(1).ctl({"drain", "--fleet", target}).code, 0);
  updater(0).kill();
  std::filesystem::remove_all(updater(0).state_dir);  // with its key
  ASSERT_TRUE(start_updater(0));
  ASSERT_TRUE(eventually([&] { return connected_to(0) == 2; }, 20s));
  EXPECT_TRUE(drains_everywhere(target));
  // It has heard of the drain, and its word against it is not taken.
  ASSERT_TRUE(eventually([&] { return sum(0, target) >= 0; }, 20s));
  ASSERT_EQ(updater(0).ctl({"undrain", "--fleet", target}).code, 0);
  const auto status = [&](std::size_t i) { return listener(i).ctl({"status"}).out; };
  EXPECT_TRUE(eventually(
      [&] { return status(1).find("lbctl trust " + address_of(0)) != std::string::npos; }, 10s))
      << status(1);
  EXPECT_TRUE(drains_everywhere(target));
  const auto drain = updater(0).ctl({"drain", "--fleet", target});
  EXPECT_EQ(drain.code, 4) << drain.err;
  EXPECT_NE(drain.out.find("refuses"), std::string::npos) << drain.out;
  ASSERT_EQ(updater(0).ctl({"undrain", "--fleet", target}).code, 0);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto trust = listener(i).ctl({"trust", address_of(0), "--reason", "installed again"});
    EXPECT_EQ(trust.code, 0) << trust.err;
  }
  EXPECT_TRUE(all_have("web", 2)) << "the undrain is heard again: " << listener(0).ctl({"list"}).out
                                  << status(0) << listener(0).ctl({"trust"}).out;
  EXPECT_EQ(status(0).find("lbctl trust"), std::string::npos) << status(0);
}

TEST_F(FleetDrain, SaysWhatIsWrong) {
  start(1);
  const auto unknown = updater(0).ctl({"drain", "--fleet", "10.9.9.9:1"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(unknown.err.find("no backend or host 10.9.9.9:1"), std::string::npos) << unknown.err;
  const auto listener_asked = listener(0).ctl({"drain", "--fleet", tasks_[0]->address});
  EXPECT_EQ(listener_asked.code, 1);
  EXPECT_NE(listener_asked.err.find("ask an updater"), std::string::npos) << listener_asked.err;
  ASSERT_EQ(updater(0).ctl({"drain", "--fleet", tasks_[0]->address}).code, 0);
  const auto undrained = listener(0).ctl({"undrain", tasks_[0]->address});
  EXPECT_EQ(undrained.code, 1);
  EXPECT_NE(undrained.err.find("--fleet"), std::string::npos) << undrained.err;
  EXPECT_EQ(updater(0).ctl({"undrain", "--fleet", tasks_[0]->address}).code, 0);
  EXPECT_EQ(updater(0).ctl({"undrain", "--fleet", tasks_[0]->address}).code, 1);
}

}  // namespace
}  // namespace lb::test
