// `lbctl drain --fleet`: a backend is drained on every listener, whatever is killed meanwhile.
#include "netns/marathoner/fixture.h"

#include <filesystem>

#include <fmt/format.h>

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
  [[nodiscard]] int sum(std::size_t i, const std::string& target) {
    const std::string json = run({"curl", "-s", "--unix-socket", updater(i).socket(),
                                  "http://lbd/v1/fleet/drains?target=" + target})
                                 .out;
    const std::string sum = json_at(json, "/connections");
    return sum.starts_with('(') ? -1 : std::stoi(sum);
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
