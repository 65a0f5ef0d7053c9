#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

TEST_F(Lbctl, OptionsStandBeforeOrAfterTheNoun) {
  const std::vector<std::vector<std::string>> spellings{
      {"--socket", "/x", "--json", "list", "web"},
      {"list", "web", "--json", "--socket", "/x"},
      {"list", "--socket=/x", "web", "--json"},
      {"--json", "list", "--socket", "/x", "web"},
  };
  std::string first;
  for (const auto& args : spellings) {
    EXPECT_EQ(run_lbctl(args), kExitOk) << err();
    EXPECT_EQ(sockets.back(), "/x");
    EXPECT_EQ(calls.back(), "GET /v1/services?filter=web");
    if (first.empty()) first = out();
    EXPECT_EQ(out(), first);
    EXPECT_EQ(out().front(), '{');
  }
}

TEST_F(Lbctl, ACommandsOwnOptionsMayStandBeforeIt) {
  EXPECT_EQ(run_lbctl({"--service", "web", "--terminate", "--timeout", "5s", "drain", "node2"}),
            kExitOk)
      << err();
  EXPECT_EQ(bodies.back(),
            R"({"target":"node2","service":"web","terminate":true,"terminate_after":"5s"})");
}

TEST_F(Lbctl, TheSocketIsTheDefaultUnlessNamed) {
  env.default_socket = "/from/environment";
  EXPECT_EQ(run_lbctl({"status"}), kExitOk);
  EXPECT_EQ(sockets.back(), "/from/environment");
}

TEST_F(Lbctl, EveryCommandHasHelpWithAnExample) {
  for (const std::string command : {"list", "status", "sources", "explain", "doctor", "drain",
                                    "undrain", "resync", "register"}) {
    EXPECT_EQ(run_lbctl({command, "--help"}), kExitOk);
    EXPECT_HAS(out(), "Example: lbctl " + command);
    EXPECT_EQ(err(), "");
  }
  EXPECT_TRUE(calls.empty());
}

TEST_F(Lbctl, VersionAndHelpAreData) {
  EXPECT_EQ(run_lbctl({"--version"}), kExitOk);
  EXPECT_HAS(out(), "lbctl 0.");
  EXPECT_EQ(run_lbctl({"--help"}), kExitOk);
  EXPECT_HAS(out(), "explain");
}

TEST_F(Lbctl, WrongUsageIsExit2WithWordsOnStderr) {
  const std::vector<std::vector<std::string>> wrong{
      {},
      {"lits"},
      {"list", "--nope"},
      {"list", "a", "b"},
      {"explain"},
      {"explain", "8080"},
      {"explain", "127.0.0.1:99999"},
      {"drain"},
      {"drain", "node2", "--timeout", "5"},
      {"drain", "node2", "--wait", "--timeout", "5"},
      {"drain", "node2", "--timeout", "5s"},
      {"undrain", "node2", "--wait"},
      {"resync"},
      {"--socket"},
  };
  for (const auto& args : wrong) {
    EXPECT_EQ(run_lbctl(args), kExitUsage) << testing::PrintToString(args);
    EXPECT_EQ(out(), "");
    EXPECT_NE(err(), "");
  }
  EXPECT_TRUE(calls.empty());
}

TEST_F(Lbctl, AnUnknownCommandNamesTheKnownOnes) {
  EXPECT_EQ(run_lbctl({"--json", "lits"}), kExitUsage);
  EXPECT_HAS(err(), "no command 'lits'; there is list, status,");
}

TEST_F(Lbctl, UnreachableIsExit3AndSaysWhereItLookedAndWhatToDo) {
  unreachable = ENOENT;
  for (const std::vector<std::string>& args : {std::vector<std::string>{"list"},
                                               {"drain", "node2", "--wait"},
                                               {"undrain", "node2"},
                                               {"resync", "--accept", "x"}}) {
    EXPECT_EQ(run_lbctl(args), kExitUnreachable);
    EXPECT_EQ(out(), "");
    EXPECT_HAS(err(), "cannot reach lbd at /run/lbd/lbd.sock: No such file or directory");
    EXPECT_HAS(err(), "--socket");
  }
  unreachable = ETIMEDOUT;
  EXPECT_EQ(run_lbctl({"status"}), kExitUnreachable);
  EXPECT_HAS(err(), "does not answer");
}

TEST_F(Lbctl, WhatIsNotAllowedIsExit5AndSaysWhatIsMissing) {
  unreachable = EACCES;
  EXPECT_EQ(run_lbctl({"status"}), kExitNotAllowed);
  EXPECT_HAS(err(), "as root");
  EXPECT_HAS(err(), "[api] group");
  unreachable = 0;
  canned = HttpAnswer{403, R"({"error":"uid=1000 may only read"})"};
  EXPECT_EQ(run_lbctl({"drain", "node2"}), kExitNotAllowed);
  EXPECT_HAS(err(), "uid=1000 may only read");
}

TEST_F(Lbctl, AReasonGoesWithWhatChangesSomething) {
  EXPECT_EQ(run_lbctl({"drain", "node2", "--reason", "new kernel"}), kExitOk) << err();
  EXPECT_EQ(bodies.back(), R"({"target":"node2","reason":"new kernel"})");
  EXPECT_EQ(run_lbctl({"undrain", "10.0.0.2:9001", "--reason", "new kernel"}), kExitOk) << err();
  EXPECT_EQ(calls.back(), "DELETE /v1/drains?target=10.0.0.2%3A9001&reason=new%20kernel");
}

TEST_F(Lbctl, AnAnswerOfAnotherProgramIsExit1) {
  for (const HttpAnswer& answer : {HttpAnswer{200, "<html>"}, HttpAnswer{200, "{}"},
                                   HttpAnswer{200, R"({"services":3})"}, HttpAnswer{500, "oops"}}) {
    canned = answer;
    EXPECT_EQ(run_lbctl({"list"}), kExitFailed) << answer.body;
    EXPECT_NE(err(), "");
  }
}

TEST_F(Lbctl, ADaemonsErrorIsExit1WithItsWords) {
  control.broken = Error{std::error_code(EPERM, std::generic_category()), "read the maps"};
  EXPECT_EQ(run_lbctl({"status", "--json"}), kExitFailed);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(err(), "lbctl: read the maps: Operation not permitted\n");
}

}  // namespace
}  // namespace lb::lbctl
