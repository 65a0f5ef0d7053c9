// lbctl against a real lbd: the documented fields of each noun, exit codes, options before and after
// the noun.
#include <gmock/gmock.h>

#include <filesystem>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

class Lbctl : public DaemonNetns {
 protected:
  static void expect_fields(const std::string& json, const std::string& at,
                            const std::vector<std::string>& fields) {
    for (const std::string& field : fields)
      EXPECT_THAT(json_at(json, at + "/" + field), Not(AnyOf("(none)", "(no JSON)")))
          << at << "/" << field << " of " << json;
  }
};

TEST_F(Lbctl, ListHasTheDocumentedFields) {
  serve_web({kOne});
  ASSERT_EQ(ask(kWeb), "1");
  const std::string json = lbd_->json({"list"});
  expect_fields(json, "/services/0",
                {"name", "protocol", "address", "port", "balance", "source", "condition", "text"});
  const std::string backend = "/services/0/backends/0";
  expect_fields(json, backend,
                {"id", "host", "address", "port", "weight", "effective_weight", "state", "reason",
                 "since", "active_connections", "total_connections", "failed_connections/refused",
                 "failed_connections/timed_out", "failed_connections/unreachable",
                 "failed_connections/gave_up", "ejections", "source"});
  EXPECT_EQ(json_at(json, backend + "/total_connections"), "1");
  EXPECT_EQ(json_size(lbd_->json({"list", "nothing-like-it"}), "/services"), 0);
}

TEST_F(Lbctl, ListCountsFailedConnectsApart) {
  serve_web({"127.0.0.1:7009"});
  EXPECT_EQ(ask(kWeb), "errno 111");
  EXPECT_EQ(ask(kWeb), "errno 111");
  const std::string json = lbd_->json({"list"});
  EXPECT_EQ(json_at(json, "/services/0/backends/0/failed_connections/refused"), "2");
  EXPECT_EQ(json_at(json, "/services/0/backends/0/failed_connections/gave_up"), "0");
  EXPECT_EQ(json_at(json, "/services/0/backends/0/active_connections"), "0");
}

TEST_F(Lbctl, StatusAndSourcesHaveTheDocumentedFields) {
  serve_web({kOne});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  const std::string status = lbd_->json({"status"});
  expect_fields(status, "",
                {"version", "pid", "started", "uptime_seconds", "config", "services", "backends",
                 "active_connections", "problems", "warnings", "failures", "held", "drains"});
  expect_fields(status, "/dataplane",
                {"mode", "cgroup", "bpffs", "services/used", "services/max", "backends/used",
                 "backends/max", "slots/used", "slots/max", "recounts", "lost_events", "notes"});
  expect_fields(status, "/drains/0", {"target", "service", "since", "terminate_at"});
  expect_fields(status, "/problems/0", {"service", "name", "condition", "text"});
  expect_fields(lbd_->json({"sources"}), "/sources/0",
                {"name", "type", "state", "error", "position", "revision", "as_of", "saved",
                 "services", "backends", "warnings", "lost_claims", "held"});
}

TEST_F(Lbctl, DrainUndrainAndDoctorHaveTheDocumentedFields) {
  serve_web({kOne, kTwo});
  for (const std::string verb : {"drain", "undrain"}) {
    const std::string json = lbd_->json({verb, kOne});
    expect_fields(json, "", {"connections"});
    expect_fields(
        json, "/backends/0",
        {"service", "name", "id", "host", "address", "port", "state", "reason", "connections"});
  }
  const Finished doctor = lbd_->ctl({"doctor", "--json"});
  expect_fields(doctor.out, "", {"can_run"});
  EXPECT_EQ(json_at(doctor.out, "/can_run"), "true");
  expect_fields(doctor.out, "/checks/0",
                {"name", "verdict", "required", "found", "meaning", "remedy"});
}

TEST_F(Lbctl, ExplainTellsServiceAliasRefusalAndNothing) {
  serve_web({kOne, "127.0.0.1:7009"});
  const std::string balanced = lbd_->json({"explain", kWeb});
  expect_fields(balanced, "",
                {"protocol", "address", "port", "outcome", "text", "alias", "service", "notes"});
  expect_fields(balanced, "/backends/0", {"candidate", "why", "listening"});
  EXPECT_EQ(json_at(balanced, "/outcome"), "balanced");
  EXPECT_EQ(json_at(balanced, "/backends/0/listening"), "true");
  EXPECT_EQ(json_at(balanced, "/backends/1/listening"), "false");
  EXPECT_THAT(json_at(lbd_->json({"explain", "[::1]:5000"}), "/alias"), HasSubstr(kWeb));
  EXPECT_EQ(json_at(lbd_->json({"explain", "127.0.0.1:5999"}), "/outcome"), "direct");
  EXPECT_EQ(json_at(lbd_->json({"explain", "127.0.0.1:5999"}), "/service"), "null");
  ASSERT_EQ(lbd_->ctl({"drain", "127.0.0.1"}).code, 0);
  EXPECT_EQ(json_at(lbd_->json({"explain", kWeb}), "/outcome"), "refused");
}

TEST_F(Lbctl, OptionsStandBeforeOrAfterTheNoun) {
  serve_web({kOne});
  for (const Command& words :
       {Command{"--json", "list"}, Command{"list", "--json"}, Command{"list", "web", "--json"},
        Command{"--json", "list", "web"}}) {
    EXPECT_EQ(json_size(lbd_->ctl(words).out, "/services"), 1);
  }
  EXPECT_EQ(run({program("lbctl"), "list", "--json", "--socket", lbd_->socket()}).code, 0);
  EXPECT_EQ(lbd_->ctl({"--wait", "--timeout", "5s", "drain", kOne}).code, 0);
  EXPECT_EQ(lbd_->ctl({"--service", "web", "undrain", kOne}).code, 1) << "another drain";
  EXPECT_EQ(lbd_->ctl({"undrain", kOne}).code, 0);
}

TEST_F(Lbctl, ExitCodes) {
  serve_web({kOne});
  const UniqueFd client = connect_to(kWeb);
  EXPECT_EQ(lbd_->ctl({"list"}).code, 0);
  EXPECT_EQ(lbd_->ctl({"drain", "nowhere"}).code, 1);
  EXPECT_EQ(lbd_->ctl({"resync", "--accept", "nobody"}).code, 1);
  EXPECT_EQ(lbd_->ctl({"juggle"}).code, 2);
  EXPECT_EQ(lbd_->ctl({"explain", "here"}).code, 2);
  EXPECT_EQ(lbd_->ctl({}).code, 2);
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "50ms"}).code, 4);
  lbd_->kill();
  const Finished unreachable = lbd_->ctl({"list", "--json"});
  EXPECT_EQ(unreachable.code, 3);
  EXPECT_EQ(unreachable.out, "");
  EXPECT_THAT(unreachable.err, HasSubstr(lbd_->socket()));
  EXPECT_EQ(lbd_->ctl({"doctor"}).code, 0) << "needs no lbd";
}

TEST_F(Lbctl, WordsGoToStderrAndDataToStdout) {
  serve_web({kOne, kTwo});
  const Finished drained = lbd_->ctl({"drain", kOne});
  EXPECT_THAT(drained.out, HasSubstr("7001"));
  const Finished list = lbd_->ctl({"list"});
  EXPECT_EQ(list.err, "");
  EXPECT_THAT(list.out, HasSubstr("draining"));
  EXPECT_THAT(list.out, HasSubstr("operator"));
}

TEST_F(Lbctl, WaitGoesOnWhileLbdIsRestarted) {
  serve_web({kOne, kTwo});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(connect_to(kWeb));
  Process waiting({program("lbctl"), "--socket", lbd_->socket(), "drain", kOne, "--wait"},
                  file("lbctl.log"));
  // The order is in force before its answer, which comes after a grace period.
  ASSERT_TRUE(eventually([&] { return waiting.log().find(" left") != std::string::npos; }))
      << waiting.log();
  EXPECT_EQ(lbd_->backend("web", kOne).state, "draining");
  lbd_->kill();
  EXPECT_FALSE(waiting.wait(std::chrono::milliseconds(600)));
  ASSERT_TRUE(lbd_->start());
  EXPECT_FALSE(waiting.wait(std::chrono::milliseconds(600)));
  clients.clear();
  EXPECT_EQ(waiting.wait(), 0);
}

// --- rights

class Rights : public DaemonNetns {
 protected:
  static constexpr auto kAdmins = "54400", kReaders = "54401";

  // lbctl of a user who is in this group, and in no other.
  [[nodiscard]] Finished ctl_of(const std::string& group, const Command& words) const {
    Command command{"setpriv",        "--reuid",        "54321",    "--regid",     group,
                    "--clear-groups", program("lbctl"), "--socket", lbd_->socket()};
    command.insert(command.end(), words.begin(), words.end());
    return run(command);
  }
  // The sandbox's folders are root's alone.
  void open_the_way() const {
    for (std::filesystem::path at = sandbox_->folder(); at != "/tmp" && at != "/";
         at = at.parent_path())
      std::filesystem::permissions(at, std::filesystem::perms::others_exec,
                                   std::filesystem::perm_options::add);
  }
};

TEST_F(Rights, AreThoseOfTheGroupsAndOutliveARestart) {
  serve_web({kOne, kTwo},
            fmt::format("[api]\ngroup = \"{}\"\nread_group = \"{}\"\n", kAdmins, kReaders));
  open_the_way();
  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(ctl_of(kReaders, {"list"}).code, 0);
    const Finished refused = ctl_of(kReaders, {"drain", kOne});
    EXPECT_EQ(refused.code, 5);
    EXPECT_THAT(refused.err, testing::HasSubstr("may only read"));
    EXPECT_THAT(refused.err, testing::HasSubstr("[api] group"));
    EXPECT_EQ(ctl_of("54402", {"list"}).code, 5) << "a stranger";
    const Finished drained = ctl_of(kAdmins, {"drain", kOne, "--reason", "new kernel"});
    EXPECT_EQ(drained.code, 0) << drained.all();
    EXPECT_EQ(ctl_of(kAdmins, {"undrain", kOne}).code, 0);
    if (start == 0) {
      lbd_->stop();
      ASSERT_TRUE(lbd_->start());
    }
  }
  EXPECT_THAT(lbd_->log(), testing::ContainsRegex(fmt::format(
                               "audit=drain who=\"uid=54321 name=\\? pid=[0-9]+\" from=\"socket\" "
                               "what=\"{}\" why=\"new kernel\" result=\"done\"",
                               kOne)));
  EXPECT_THAT(lbd_->log(), testing::ContainsRegex("audit=drain .*result=\"403 "));
}

TEST_F(Rights, OfOneGroupKeepStrangersFromTheSocket) {
  serve_web({kOne}, fmt::format("[api]\ngroup = \"{}\"\n", kAdmins));
  open_the_way();
  EXPECT_EQ(ctl_of(kAdmins, {"list"}).code, 0);
  const Finished refused = ctl_of(kReaders, {"list"});
  EXPECT_EQ(refused.code, 5);
  EXPECT_THAT(refused.err, testing::HasSubstr("[api] group"));
}

}  // namespace
}  // namespace lb::test
