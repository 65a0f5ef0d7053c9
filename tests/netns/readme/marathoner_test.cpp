// README's section "Coming from Marathoner": its commands are run as they stand there, with the names
// that they use. A Marathon of two nodes; a host on which updater, listener and logger run; and one more
// updater elsewhere.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "netns/readme/blocks.h"
#include "support/fake_marathon.h"
#include "support/host.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::StartsWith;

constexpr auto kService = "127.0.0.1:10001";
constexpr auto kTask = "10.79.200.1:31001";

class ReadmeMarathonerNetns : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    sandbox_.emplace();
    wire_.emplace();
    lines_ = commands_of_readme("## Coming from Marathoner");
    ASSERT_EQ(lines_.size(), 3U);
    replace_file(file("hosts"),
                 "127.0.0.1 localhost\n"
                 "10.79.1.1 marathon1\n10.79.1.2 marathon2\n"
                 "10.79.2.1 marathoner-updater1\n10.79.2.2 marathoner-updater2\n");
    std::filesystem::create_directories(file("zk"));
    for (const int i : {1, 2}) start_marathon(i);
    for (const int i : {1, 2})
      updaters_.push_back(std::make_unique<Host>(*sandbox_, fmt::format("updater{}", i),
                                                 fmt::format("10.79.2.{}", i)));
    marathon_->wait_for_leader();
    marathon_->add_app({.id = "/web", .ports = {10001}});
    Wire::add_address("10.79.200.1");
    task_.emplace(kTask, "hello from the task");
    marathon_->launch("/web", "10.79.200.1", {31001});
  }

  void start_marathon(int i) {
    const std::string name = fmt::format("marathon{}", i);
    const auto& host = marathon_hosts_.emplace_back(
        std::make_unique<Host>(*sandbox_, name, fmt::format("10.79.1.{}", i)));
    marathons_.push_back(std::make_unique<Process>(
        host->wrap({LB_FAKE_MARATHON, "--node", std::to_string(i), "--zk", file("zk"), "--listen",
                    host->ip() + ":8080", "--advertise", name + ":8080", "--control",
                    host->file("control")}),
        host->file("log")));
    marathon_ = std::make_unique<FakeMarathonSocket>(host->file("control"));
  }

  [[nodiscard]] std::string file(const std::string& name) const {
    return sandbox_->folder() + "/" + name;
  }

  // `lbd` as the reader types it, kept on its host. Updater and listener share a host, not folders.
  static void write_lbd(Host& host) {
    const std::string path = host.file("lbd");
    replace_file(
        path, fmt::format(
                  "#!/bin/sh\nset -- {0} \"$@\"\ncase $2 in\nupdater) set -- \"$@\" --runtime-dir "
                  "{1}-updater --state-dir {2}-updater ;;\nlistener) set -- \"$@\" --runtime-dir "
                  "{1} --state-dir {2} --cgroup {3} --bpffs {4} ;;\nesac\n"
                  "exec setpriv --pdeathsig KILL \"$@\"\n",
                  program("lbd"), host.lbd().runtime_dir, host.lbd().state_dir, host.cgroup(),
                  host.lbd().bpffs));
    ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  }

  // Types the commands on the host, where our names are known; elsewhere /etc/hosts stays as it is.
  std::unique_ptr<Process> type(Host& host, const std::vector<std::string>& commands) const {
    write_lbd(host);
    std::string script = fmt::format(
        "PATH={}:$PATH\n", std::filesystem::path(host.file("lbd")).parent_path().string());
    for (const std::string& line : commands) script += line + "\n";
    replace_file(host.file("commands.sh"), script + "wait\n");
    return std::make_unique<Process>(
        host.wrap({"unshare", "--mount", "sh", "-c",
                   fmt::format("mount --bind {} /etc/hosts && exec bash {}", file("hosts"),
                               host.file("commands.sh"))}),
        host.file("shell.log"));
  }

  // The lines of JSON, which only the logger prints.
  [[nodiscard]] std::vector<std::string> logged() const {
    std::istringstream in(shell_->log());
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);)
      if (line.starts_with('{')) out.push_back(line);
    return out;
  }

  // A listener that is no logger, for that says so in its name.
  [[nodiscard]] static bool listens_to(Host& updater) {
    const std::string json = run({program("lbctl"), "--json", "--socket",
                                  updater.lbd().runtime_dir + "-updater/lbd.sock", "listeners"})
                                 .out;
    for (int i = 0; i < json_size(json, "/listeners"); ++i)
      if (json_at(json, fmt::format("/listeners/{}/connected", i)) == "true" &&
          json_at(json, fmt::format("/listeners/{}/node", i)).find("logger") == std::string::npos)
        return true;
    return false;
  }

  std::optional<Sandbox> sandbox_;
  std::optional<Wire> wire_;
  std::vector<std::string> lines_;
  std::vector<std::unique_ptr<Host>> marathon_hosts_, updaters_;
  std::vector<std::unique_ptr<Process>> marathons_;
  std::unique_ptr<FakeMarathonSocket> marathon_;
  std::optional<Server> task_;
  std::unique_ptr<Process> shell_, other_shell_;
};

TEST_F(ReadmeMarathonerNetns, MarathonersUsageLinesWorkAsWritten) {
  ASSERT_THAT(lines_[0],
              StartsWith("lbd updater -m http://marathon1:8080,http://marathon2:8080 -i 1"));
  ASSERT_THAT(lines_[1], StartsWith("lbd listener -u marathoner-updater1:7676,"
                                    "marathoner-updater2:7676 -b 127.0.0.1"));
  ASSERT_THAT(lines_[2], StartsWith("lbd logger -u marathoner-updater1:7676"));
  Host& host = *updaters_[0];
  shell_ = type(host, lines_);
  other_shell_ = type(*updaters_[1], {lines_[0]});

  ASSERT_TRUE(
      eventually([&] { return host.lbd().backend("web", kTask).effective_weight > 0; }, 30s))
      << shell_->log();
  EXPECT_EQ(host.lbd().service("web").listen, kService);
  SteadyClient app(host, kService, 1);
  EXPECT_TRUE(eventually([&] { return app.tally().made > 20; }, 20s)) << app.tally().first_failure;
  const SteadyClient::Tally tally = app.stop();
  EXPECT_EQ(tally.failed + tally.broken, 0) << tally.first_failure;
  EXPECT_GE(task_->accepted(), tally.made) << "through lbd and nothing else";

  ASSERT_TRUE(eventually([&] { return !logged().empty(); }, 20s)) << shell_->log();
  EXPECT_EQ(json_at(logged()[0], "/changes/0/change"), "service-added");
  EXPECT_EQ(json_at(logged()[0], "/changes/1/backend"), kTask);

  marathon_->launch("/web", "10.79.200.1", {31002});
  EXPECT_TRUE(eventually([&] { return host.lbd().service("web").backends.size() == 2; }, 20s));
  EXPECT_TRUE(eventually([&] { return logged().size() == 2; }, 20s)) << shell_->log();
  // The listener knows both updaters by their names.
  for (const auto& updater : updaters_)
    EXPECT_TRUE(eventually([&] { return listens_to(*updater); }, 20s)) << updater->name();
}

}  // namespace
}  // namespace lb::test
