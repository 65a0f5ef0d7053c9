#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

TEST_F(Lbctl, ListIsATableOnStdoutAndSentencesOnStderr) {
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_EQ(out(),
            "SERVICE  LISTEN          CONDITION    BACKEND        HOST   STATE     REASON    "
            "WEIGHT  ACTIVE  TOTAL  FAILED  SINCE\n"
            "web      127.0.0.1:8080  ok           10.0.0.1:9001  node1  active    -            "
            "100       3    120       6  13m 55s\n"
            "web      127.0.0.1:8080  ok           10.0.0.2:9001  node2  draining  operator   "
            "0/100       1     80       0  1m 35s\n"
            "dns      udp://[::1]:53  no-backends  -              -      -         -              "
            "-       -      -       -  -\n");
  EXPECT_EQ(err(), "dns udp://[::1]:53: no usable backend: clients get ECONNREFUSED\n");
}

TEST_F(Lbctl, ListSaysOfABackendWhatItsReasonDoesNot) {
  auto web = std::make_shared<DesiredService>(*test::web_service());
  web->backends[0].state = BackendState::Down;
  web->backends[0].reason = Reason::Owner;
  web->backends[0].text = "port is held by uid 1005 (mallory), wants uid 1001 (postgres)";
  control.services[0].service = web;
  EXPECT_EQ(run_lbctl({"list", "node1"}), kExitOk);
  EXPECT_EQ(err(),
            "web 127.0.0.1:8080: 10.0.0.1:9001: port is held by uid 1005 (mallory), wants uid 1001 "
            "(postgres)\n");
}

TEST_F(Lbctl, ListJsonIsTheApisAnswer) {
  EXPECT_EQ(run_lbctl({"list", "--json"}), kExitOk);
  const ApiReply reply = test::run_awaitable(handle({"GET", "/v1/services", ""}, control));
  EXPECT_EQ(nlohmann::json::parse(out()), nlohmann::json::parse(reply.body));
  EXPECT_EQ(err(), "");
}

TEST_F(Lbctl, UdpHasNoActiveCount) {
  control.services[0].counts[0].active_connections.reset();
  EXPECT_EQ(run_lbctl({"list", "node1"}), kExitOk);
  EXPECT_HAS(out(), "     100       -    120");
}

TEST_F(Lbctl, ColoursOnlyOnATerminalWithoutNoColor) {
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_HAS_NOT(out(), "\x1b");
  env.out_is_tty = true;
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_HAS(out(), "\x1b[33mdraining\x1b[0m  operator");
  env.no_color = true;
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_HAS_NOT(out(), "\x1b");
}

TEST_F(Lbctl, ASourceCannotSteerTheTerminal) {
  auto evil = std::make_shared<DesiredService>(*test::web_service());
  evil->name = "web\x1b]0;owned\x07\nx";
  control.services[0].service = evil;
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_HAS(out(), R"(web\x1b]0;owned\x07\x0ax)");
}

TEST_F(Lbctl, EmptyListsSayWhereToLook) {
  EXPECT_EQ(run_lbctl({"list", "nothing"}), kExitOk);
  EXPECT_EQ(out(), "");
  EXPECT_HAS(err(), "Nothing matches 'nothing'");
  control.services.clear();
  EXPECT_EQ(run_lbctl({"list"}), kExitOk);
  EXPECT_HAS(err(), "'lbctl sources'");
  control.source_list.clear();
  EXPECT_EQ(run_lbctl({"sources"}), kExitOk);
  EXPECT_HAS(err(), "add a [[source]]");
}

TEST_F(Lbctl, StatusOfAHealthyLbdIsSixLines) {
  EXPECT_EQ(run_lbctl({"status"}), kExitOk);
  EXPECT_EQ(out(),
            "lbd         0.1.0, pid 4242, up 13m 55s\n"
            "config      /etc/lbd/lbd.toml\n"
            "dataplane   ebpf on /sys/fs/cgroup, pinned in /sys/fs/bpf/lbd\n"
            "room        services 2 of 16384, backends 2 of 131072, slots 4 of 1048576\n"
            "serving     2 services, 2 backends, 4 connections\n"
            "loop        longest stall 12.5 ms, 13m 55s ago\n");
  EXPECT_EQ(err(), "");
}

TEST_F(Lbctl, StatusShowsEveryTrouble) {
  const ServiceKey key = *ServiceKey::parse("127.0.0.1:8081");
  control.state.problems = {{key, "api", Condition::Conflict, "nginx (pid 7) listens on it"}};
  control.state.own_problems = {{"dataplane", "the nft table cannot be put back"}};
  control.state.loop.dropped_log_lines = 17;
  control.state.warnings = {"outside clients are not served: web listens on 0.0.0.0:80"};
  control.state.failures = {
      {key, "map is full", test::kStarted, 3, std::chrono::milliseconds(800)}};
  control.state.held = {{"etcd", 4, 5, test::kStarted, ""}};
  control.state.drains = {{"node2", "web", test::kStarted, test::kNow}};
  control.state.dataplane.notes = {"counts need CAP_PERFMON"};
  control.state.dataplane.lost_events = 9;
  EXPECT_EQ(run_lbctl({"status"}), kExitOk);
  for (const char* part :
       {"api tcp://127.0.0.1:8081: conflict: nginx (pid 7) listens on it",
        "not as it must be, and tried again:\n  dataplane: the nft table cannot be put back",
        "outside clients are not served",
        "map is full (tried 3 times since 2026-11-22T02:00:00.000Z, again in 0.8s)",
        "lbctl resync --accept etcd",
        "node2 in web, for 13m 55s, terminates at 2026-11-22T02:13:55.123Z",
        "counts need CAP_PERFMON", "9 failure events", "17 lines lost"})
    EXPECT_HAS(out(), part);
}

TEST_F(Lbctl, SourcesShowErrorsWarningsAndLostClaims) {
  SourceView& source = control.source_list[0];
  source.state = "failing";
  source.saved = true;
  source.error = "web.toml:3:7: unknown key";
  source.warnings = {"weight above 65535"};
  source.lost_claims = {{*ServiceKey::parse("127.0.0.1:80"), "web", "etcd"}};
  source.held = HeldBack{"file", 3, 4, test::kStarted, "3 of 4 backends are missing"};
  EXPECT_EQ(run_lbctl({"sources"}), kExitOk);
  EXPECT_EQ(out(),
            "SOURCE  TYPE  STATE    SNAPSHOT      AGE  SERVICES  BACKENDS  POSITION             "
            "REVISION\n"
            "file    file  failing  saved     13m 55s         1         2  /etc/lbd/services.d  -\n"
            "\n"
            "file:\n"
            "  error: web.toml:3:7: unknown key\n"
            "  warning: weight above 65535\n"
            "  lost claim: web tcp://127.0.0.1:80 belongs to etcd\n"
            "  held: 3 of 4 backends are missing (believe it: lbctl resync --accept file)\n");
}

TEST_F(Lbctl, ASourceThatDeliveredNothingHasNoAge) {
  control.source_list[0].as_of.reset();
  EXPECT_EQ(run_lbctl({"sources"}), kExitOk);
  EXPECT_HAS(out(), "none        -");
}

TEST_F(Lbctl, ExplainsWhoIsACandidateAndWhyNot) {
  Explanation& e = control.explanation;
  e.outcome = Outcome::Balanced;
  e.text = "to 10.0.0.1:9001, the only candidate";
  e.alias = "[::1]:8080 is an alias of 127.0.0.1:8080";
  e.service = control.services[0].service;
  e.notes = {"scope host"};
  e.backends = {{e.service->backends[0], control.services[0].counts[0], true, "weight 100", true},
                {e.service->backends[1], control.services[0].counts[1], false, "drained", {}}};
  EXPECT_EQ(run_lbctl({"explain", "[::1]:8080"}), kExitOk);
  EXPECT_EQ(calls.back(), "GET /v1/explain?to=%5B%3A%3A1%5D%3A8080");
  EXPECT_EQ(
      out(),
      "[::1]:8080: balanced\n"
      "  to 10.0.0.1:9001, the only candidate\n"
      "  [::1]:8080 is an alias of 127.0.0.1:8080\n"
      "  service web on 127.0.0.1:8080, least-conn, from file, condition ok\n"
      "  note: scope host\n"
      "\n"
      "BACKEND        STATE     REASON    CANDIDATE  WEIGHT  ACTIVE  LISTENS  SINCE    WHY\n"
      "10.0.0.1:9001  active    -         yes           100       3  yes      13m 55s  weight 100\n"
      "10.0.0.2:9001  draining  operator  no          0/100       1  -        1m 35s   drained\n");
}

TEST_F(Lbctl, ExplainsTheAbsenceOfAService) {
  control.explanation.text = "no service; connects directly";
  EXPECT_EQ(run_lbctl({"explain", "udp://127.0.0.1:9"}), kExitOk);
  EXPECT_EQ(out(), "udp://127.0.0.1:9: direct\n  no service; connects directly\n");
}

}  // namespace
}  // namespace lb::lbctl
