#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

using relay::FleetProgress;

FleetProgress progress(std::vector<FleetProgress::Listener> listeners, bool drained = false) {
  FleetProgress out;
  out.order = {.id = "f1",
               .time = test::kStarted,
               .target = "10.0.0.2:9001",
               .service = "",
               .drain = true,
               .ids = {}};
  out.listeners = std::move(listeners);
  for (const auto& l : out.listeners) out.connections += l.connections;
  out.drained = drained;
  return out;
}

FleetProgress::Listener on(std::string node, std::uint64_t connections, bool programmed = true) {
  return {.node = std::move(node),
          .connected = true,
          .programmed = programmed,
          .ended = false,
          .connections = connections};
}

TEST_F(Lbctl, AFleetDrainReturnsWhenEveryListenerHasProgrammedIt) {
  control.fleet = {progress({on("n1", 0, false), on("n2", 2)}),
                   progress({on("n1", 1), on("n2", 2)})};
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001"}), kExitOk);
  EXPECT_EQ(calls.front(), "POST /v1/fleet/drains");
  EXPECT_EQ(calls.back(), "GET /v1/fleet/drains?target=10.0.0.2%3A9001");
  EXPECT_EQ(out(),
            "LISTENER  STATE     CONNECTIONS\n"
            "n1        draining            1\n"
            "n2        draining            2\n");
  EXPECT_HAS(err(), "3 connections left on 2 of 2 listeners");
}

TEST_F(Lbctl, AFleetDrainWaitsForTheSum) {
  control.fleet = {progress({on("n1", 3), on("n2", 0)}), progress({on("n1", 3), on("n2", 0)}),
                   progress({on("n1", 0), on("n2", 0)}, true)};
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001", "--wait"}), kExitOk);
  EXPECT_EQ(err(),
            "0ms: 3 connections left on 1 of 2 listeners\n"
            "No connection left on any of 2 listeners after 500ms.\n");
}

TEST_F(Lbctl, AFleetDrainNamesListenersThatAreAway) {
  auto away = on("node7", 2);
  away.connected = false;
  control.fleet = {progress({on("n1", 0), away})};
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001", "--wait", "--timeout", "2s"}),
            kExitTimedOut);
  EXPECT_HAS(err(), "1 away (node7): what they have is not known");
  EXPECT_HAS(err(), "lbctl undrain --fleet 10.0.0.2:9001");
}

TEST_F(Lbctl, AFleetDrainOutlivesARestartOfTheUpdater) {
  control.fleet = {progress({on("n1", 3)}), progress({on("n1", 0)}, true)};
  on_sleep = [this] { unreachable = sleeps < 20 ? ECONNREFUSED : 0; };
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001", "--wait"}), kExitOk);
  on_sleep = [this] { unreachable = ECONNREFUSED; };
  control.fleet = {progress({on("n1", 3)})};
  unreachable = 0;
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001", "--wait"}), kExitUnreachable);
  EXPECT_HAS(err(), "The order stays");
}

TEST_F(Lbctl, AFleetDrainOfNothingIsExit1) {
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9002"}), kExitFailed);
  EXPECT_HAS(err(), "Did you mean 10.0.0.2:9001");
  EXPECT_EQ(run_lbctl({"undrain", "--fleet", "node9"}), kExitFailed);
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "x", "--terminate"}), kExitUsage);
}

TEST_F(Lbctl, ListenersAreATable) {
  relay::ListenerView one;
  one.node = "n1";
  one.address = "10.0.0.7:41234";
  one.version = "0.1.0";
  one.connected = true;
  one.takes_state = true;
  one.since = test::kNow - std::chrono::seconds(95);
  one.applied = relay::Position{"e", 41};
  one.behind = 1;
  one.lag = std::chrono::milliseconds(7);
  one.counts = {{*ServiceKey::parse("127.0.0.1:80"), *Address::parse("10.0.0.1:80"), 3}};
  relay::ListenerView two;
  two.node = "n2";
  two.address = "10.0.0.8:41234";
  two.version = "0.1.0";
  two.since = test::kNow;
  control.listener_list = {one, two};
  EXPECT_EQ(run_lbctl({"listeners"}), kExitOk);
  EXPECT_EQ(
      out(),
      "LISTENER  ADDRESS         VERSION  STATE      FEED  APPLIED  LAG  CONNECTIONS   SINCE\n"
      "n1        10.0.0.7:41234  0.1.0    connected  here  41 (-1)  7ms            3  1m 35s\n"
      "n2        10.0.0.8:41234  0.1.0    away       -           -    -            0     0ms\n");
  EXPECT_EQ(run_lbctl({"listeners", "n1"}), kExitOk);
  EXPECT_EQ(
      out(),
      "LISTENER  ADDRESS         VERSION  STATE      FEED  APPLIED  LAG  CONNECTIONS   SINCE\n"
      "n1        10.0.0.7:41234  0.1.0    connected  here  41 (-1)  7ms            3  1m 35s\n"
      "\n"
      "LISTENER  SERVICE             BACKEND      CONNECTIONS\n"
      "n1        tcp://127.0.0.1:80  10.0.0.1:80            3\n");
  EXPECT_EQ(run_lbctl({"listeners", "n7"}), kExitOk);
  EXPECT_HAS(err(), "No listener matches 'n7'.");
  EXPECT_EQ(run_lbctl({"listeners", "--json"}), kExitOk);
  const auto json = nlohmann::json::parse(out());
  EXPECT_EQ(json["listeners"][0]["backends"][0]["connections"], 3);
  EXPECT_EQ(json["listeners"][0]["lag_seconds"], 0.007);
  EXPECT_TRUE(json["listeners"][1]["applied_sequence"].is_null());
}

TEST_F(Lbctl, ListenersOfNoneIsSaidInWords) {
  EXPECT_EQ(run_lbctl({"listeners"}), kExitOk);
  EXPECT_HAS(err(), "No listener has connected yet.");
}

}  // namespace
}  // namespace lb::lbctl
