// README's section "Coming from Merlion": its commands are run as they stand there, against a real etcd,
// with its v3 API as Debian has it, and with Merlion's own form of them where v2 is switched on.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "netns/readme/blocks.h"
#include "support/daemon.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

using testing::HasSubstr;

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

// What the shell leaves in the background ends with the shell.
const std::string kWithUs = "exec setpriv --pdeathsig KILL ";

constexpr auto kReadme = "the file that Merlion's quick start fetches";

class ReadmeNetns : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    if (::access("/usr/bin/etcd", X_OK) != 0) GTEST_SKIP() << "needs /usr/bin/etcd";
    sandbox_.emplace();
    bring_up_loopback();
    lbd_.emplace(*sandbox_);
    replace_file(file("README.md"), std::string(kReadme) + "\n");
    // `lbd` as the reader types it, kept in the sandbox.
    write_program("lbd", kWithUs + program("lbd") + " \"$@\" --runtime-dir " + lbd_->runtime_dir +
                             " --state-dir " + lbd_->state_dir + " --cgroup " + lbd_->cgroup +
                             " --bpffs " + lbd_->bpffs);
    write_program("python3", kWithUs + std::string("/usr/bin/python3 \"$@\""));
    Command etcd{"/usr/bin/etcd", "--data-dir", file("etcd")};
    if (GetParam() == "v2") etcd.emplace_back("--enable-v2");
    etcd_ = std::make_unique<Process>(etcd, file("etcd.log"));
    ASSERT_TRUE(eventually(
        [] {
          return run({"etcdctl", "endpoint", "health"}).code == 0;
        },
        std::chrono::seconds(20)));
  }
  void TearDown() override {
    if (shell_) {
      shell_->signal(SIGTERM);
      shell_->wait();
    }
    shell_.reset();
    etcd_.reset();
    lbd_.reset();
    sandbox_.reset();
  }

  [[nodiscard]] std::string file(const std::string& name) const {
    return sandbox_->folder() + "/" + name;
  }
  void write_program(const std::string& name, const std::string& text) const {
    replace_file(file(name), "#!/bin/sh\n" + text + "\n");
    ASSERT_EQ(::chmod(file(name).c_str(), 0755), 0);
  }

  std::optional<Sandbox> sandbox_;
  std::optional<Daemon> lbd_;
  std::unique_ptr<Process> etcd_, shell_;
};

TEST_P(ReadmeNetns, MerlionsQuickStartWorksAsWritten) {
  std::vector<std::string> lines = commands_of_readme("## Coming from Merlion");
  ASSERT_GE(lines.size(), 8U);
  ASSERT_EQ(lines.front(), "export ETCDCTL_API=3");
  if (GetParam() == "v2") {
    lines.front() = "export ETCDCTL_API=2";
    for (std::string& line : lines) line = replaced(line, "etcdctl put ", "etcdctl set ");
  }
  ASSERT_THAT(lines.back(), HasSubstr("curl "));
  std::string script = "trap 'kill $(jobs -p); wait; exit 0' TERM\nset -e\ncd " +
                       sandbox_->folder() + "\nPATH=$PWD:$PATH\n";
  for (const std::string& line : lines) script += line + "\n";
  replace_file(file("commands.sh"), script + "wait\n");
  shell_ = std::make_unique<Process>(Command{"bash", file("commands.sh")}, file("shell.log"));

  ASSERT_TRUE(eventually([&] { return shell_->log().find(kReadme) != std::string::npos; },
                         std::chrono::seconds(30)))
      << shell_->log();
  // Through lbd and nothing else.
  EXPECT_GE(lbd_->backend("mysite.example.com", "127.0.0.1:8023").total, 1);
}

INSTANTIATE_TEST_SUITE_P(Apis, ReadmeNetns, testing::Values("v2", "v3"),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace lb::test
