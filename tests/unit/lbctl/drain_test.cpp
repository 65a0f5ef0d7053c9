#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

TEST_F(Lbctl, DrainSaysWhatMatchedAndWhatIsLeft) {
  control.left = {2};
  EXPECT_EQ(run_lbctl({"drain", "10.0.0.2:9001"}), kExitOk);
  EXPECT_EQ(
      out(),
      "SERVICE  LISTEN                BACKEND        HOST   STATE     REASON    CONNECTIONS\n"
      "web      tcp://127.0.0.1:8080  10.0.0.2:9001  node2  draining  operator            2\n");
  EXPECT_HAS(err(), "2 connections left");
  EXPECT_EQ(sleeps, 0);
}

TEST_F(Lbctl, RepeatingADrainSucceeds) {
  EXPECT_EQ(run_lbctl({"drain", "node2"}), kExitOk);
  EXPECT_EQ(run_lbctl({"drain", "node2"}), kExitOk);
  EXPECT_EQ(control.drains.size(), 2U);
}

TEST_F(Lbctl, AnUnknownTargetIsExit1WithNearMatches) {
  EXPECT_EQ(run_lbctl({"drain", "10.0.0.2:9002", "--wait"}), kExitFailed);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(
      err(),
      "lbctl: no backend matches 10.0.0.2:9002\nDid you mean 10.0.0.2:9001, 10.0.0.1:9001?\n");
}

TEST_F(Lbctl, WaitsUntilNothingIsLeftAndPrintsALinePerChange) {
  control.left = {3, 3, 3, 1, 0};
  EXPECT_EQ(run_lbctl({"drain", "node2", "--service", "web", "--wait"}), kExitOk);
  EXPECT_EQ(calls.back(), "GET /v1/drains?target=node2&service=web");
  EXPECT_EQ(err(),
            "0ms: 3 connections left (10.0.0.2:9001 3)\n"
            "750ms: 1 connection left (10.0.0.2:9001 1)\n"
            "No connection left after 1s.\n");
  EXPECT_HAS(out(), "operator            0\n");
}

TEST_F(Lbctl, ABackendThatLeftTheListHasNoConnections) {
  control.left = {3};
  on_sleep = [this] { control.left.clear(); };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait", "--json"}), kExitOk);
  const auto json = nlohmann::json::parse(out());
  EXPECT_EQ(json["connections"], 0);
  EXPECT_EQ(json["backends"][0]["connections"], 0);
  EXPECT_EQ(json["backends"][0]["address"], "10.0.0.2");
}

TEST_F(Lbctl, RedrawsOneLineOnATerminalNoWiderThanIt) {
  env.err_is_tty = true;
  env.columns = 30;
  control.left = {3, 2, 0};
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait"}), kExitOk);
  EXPECT_EQ(err(),
            "\r\x1b[K0ms: 3 connections left (10.0"
            "\r\x1b[K250ms: 2 connections left (10"
            "\r\x1b[KNo connection left after 500ms.\n");
}

TEST_F(Lbctl, TimesOutWithExit4AndTheDrainStays) {
  control.left = {3};
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait", "--timeout", "1100ms"}), kExitTimedOut);
  EXPECT_EQ(steady.time_since_epoch(), std::chrono::milliseconds(1100));
  EXPECT_HAS(err(), "timed out after 1s: 3 connections left (10.0.0.2:9001 3). The drain stays");
  EXPECT_HAS(out(), "            3\n");
  EXPECT_TRUE(control.undrains.empty());
  EXPECT_EQ(control.drains[0],
            (DrainRequest{{"node2", ""}, false, {}}));  // --timeout bounds the wait alone
}

TEST_F(Lbctl, TerminateHandsTheDeadlineToLbdAndWaitsForTheEnd) {
  control.left = {3};
  on_sleep = [this] {
    if (steady.time_since_epoch() > std::chrono::seconds(3)) control.left = {0};
  };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait", "--terminate", "--timeout", "2s"}), kExitOk);
  EXPECT_EQ(control.drains[0], (DrainRequest{{"node2", ""}, true, std::chrono::seconds(2)}));
}

TEST_F(Lbctl, TerminateWithoutTimeoutLeavesTheDeadlineToLbd) {
  EXPECT_EQ(run_lbctl({"drain", "node2", "--terminate"}), kExitOk);
  EXPECT_EQ(control.drains[0], (DrainRequest{{"node2", ""}, true, {}}));
}

TEST_F(Lbctl, ARestartOfLbdDoesNotEndTheWait) {
  control.left = {3};
  on_sleep = [this] {
    unreachable = sleeps < 8 ? ECONNREFUSED : 0;
    if (unreachable == 0) control.left = {0};
  };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait"}), kExitOk);
}

TEST_F(Lbctl, ARestartOfLbdLateInALongWaitDoesNotEndItEither) {
  control.left = {3};
  on_sleep = [this] {
    unreachable = sleeps >= 100 && sleeps < 108 ? ECONNREFUSED : 0;
    if (sleeps >= 108) control.left = {0};
  };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait"}), kExitOk);
  EXPECT_GT(steady.time_since_epoch(), std::chrono::seconds(25));
}

TEST_F(Lbctl, AnLbdThatStaysAwayIsExit3) {
  control.left = {3};
  on_sleep = [this] { unreachable = ECONNREFUSED; };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait"}), kExitUnreachable);
  EXPECT_HAS(err(), "lost lbd");
  EXPECT_LT(steady.time_since_epoch(), std::chrono::seconds(20));
}

TEST_F(Lbctl, AnUnreachableLbdAtTheDeadlineIsATimeout) {
  control.left = {3};
  on_sleep = [this] { unreachable = ECONNREFUSED; };
  EXPECT_EQ(run_lbctl({"drain", "node2", "--wait", "--timeout", "1s"}), kExitTimedOut);
}

TEST_F(Lbctl, UndrainShowsWhatComesBack) {
  EXPECT_EQ(run_lbctl({"undrain", "10.0.0.2:9001", "--service", "web"}), kExitOk);
  EXPECT_EQ(control.undrains[0], (DrainTarget{"10.0.0.2:9001", "web"}));
  EXPECT_HAS(out(), "active");
}

TEST_F(Lbctl, UndrainOfWhatIsNotDrainedIsExit1) {
  EXPECT_EQ(run_lbctl({"undrain", "node7"}), kExitFailed);
  EXPECT_HAS(err(), "node7 is not drained");
}

TEST_F(Lbctl, ResyncAcceptsAbsences) {
  EXPECT_EQ(run_lbctl({"resync", "--accept", "etcd"}), kExitOk);
  EXPECT_EQ(err(), "7 backends of etcd are believed to be gone.\n");
  EXPECT_EQ(run_lbctl({"resync", "--accept", "etcd", "--json"}), kExitOk);
  EXPECT_EQ(out(), "{\"source\":\"etcd\",\"removed\":7}\n");
  EXPECT_EQ(run_lbctl({"resync", "--accept", "nobody"}), kExitFailed);
}

}  // namespace
}  // namespace lb::lbctl
