// README's section "Coming from Merlion": its commands are run as they stand there, against a real etcd,
// once with etcd's v2 API and once with v3's form of the same commands.
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

class ReadmeNetns : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    if (::access("/usr/bin/etcd", X_OK) != 0) GTEST_SKIP() << "needs /usr/bin/etcd";
    sandbox_.emplace();
    bring_up_loopback();
    lbd_.emplace(*sandbox_);
    replace_file(file("README.md"), "the file that Merlion's quick start fetches\n");
    // `lbd` as the reader types it, kept in the sandbox.
    write_program("lbd", kWithUs + program("lbd") + " \"$@\" --runtime-dir " + lbd_->runtime_dir +
                             " --state-dir " + lbd_->state_dir + " --cgroup " + lbd_->cgroup +
                             " --bpffs " + lbd_->bpffs);
    write_program("python3", kWithUs + std::string("/usr/bin/python3 \"$@\""));
    etcd_ = std::make_unique<Process>(
        Command{"/usr/bin/etcd", "--enable-v2", "--data-dir", file("etcd"), "--listen-peer-urls",
                "http://127.0.0.1:2380"},
        file("etcd.log"));
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
  ASSERT_EQ(lines.front(), "export ETCDCTL_API=2");
  if (GetParam() == "v3") {
    lines.front() = "export ETCDCTL_API=3";
    for (std::string& line : lines) line = replaced(line, "etcdctl set ", "etcdctl put ");
  }
  const std::string last = lines.back();
  ASSERT_THAT(last, HasSubstr("curl "));
  lines.pop_back();
  std::string script = "trap 'kill $(jobs -p); wait; exit 0' TERM\nset -e\ncd " +
                       sandbox_->folder() + "\nPATH=$PWD:$PATH\n";
  for (const std::string& line : lines) script += line + "\n";
  replace_file(file("commands.sh"), script + "wait\n");
  shell_ = std::make_unique<Process>(Command{"bash", file("commands.sh")}, file("shell.log"));

  ASSERT_TRUE(eventually(
      [&] { return lbd_->backend("mysite.example.com", "127.0.0.1:8023").state == "active"; },
      std::chrono::seconds(20)))
      << shell_->log();
  EXPECT_THAT(run({"sh", "-c", last}).out,
              HasSubstr("the file that Merlion's quick start fetches"));
  // Through lbd and nothing else.
  EXPECT_GE(lbd_->backend("mysite.example.com", "127.0.0.1:8023").total, 1);
}

INSTANTIATE_TEST_SUITE_P(Apis, ReadmeNetns, testing::Values("v2", "v3"),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace lb::test
