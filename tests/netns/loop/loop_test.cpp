// A real lbd whose surroundings hang: it goes on answering, and ends when it is told to.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "support/daemon.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    sandbox_.emplace();
    bring_up_loopback();
    lbd_.emplace(*sandbox_);
    std::filesystem::create_directories(services("."));
    lbd_->configure("[[source]]\nname = \"files\"\ntype = \"file\"\npath = \"" + services("") +
                    "\"\n");
    replace_file(services("web.toml"),
                 "[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:5000\"\n"
                 "backends = [{address = \"127.0.0.1:7001\"}]\n");
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    return sandbox_->folder() + "/" + name;
  }
  [[nodiscard]] std::string services(const std::string& name) const {
    return file("services.d/" + name);
  }
  bool start() { return lbd_->start({"--dataplane", "none"}); }
  // Its answer comes within this, or never.
  [[nodiscard]] std::string status() const { return lbd_->json({"status"}); }

  // lbd's stderr becomes a pipe, and nothing reads it.
  UniqueFd take_stderr() {
    const std::string pipe = file("stderr");
    EXPECT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    lbd_->prefix = {"sh", "-c", "exec \"$@\" 2>" + pipe, "sh"};
    return reader;
  }
  // More than a pipe holds: a warning for each file.
  void write_broken_files(int count) const {
    for (int i = 0; i < count; ++i)
      replace_file(services("broken-" + std::to_string(i) + std::string(150, 'x') + ".toml"),
                   "nonsense");
  }

  std::optional<Sandbox> sandbox_;
  std::optional<Daemon> lbd_;
};

TEST_F(LoopTest, AReaderOfStderrThatStopsDelaysNothing) {
  const UniqueFd reader = take_stderr();
  write_broken_files(1'000);
  ASSERT_TRUE(start());
  ASSERT_TRUE(eventually(
      [&] { return json_at(lbd_->json({"sources"}), "/sources/0/warnings/999") != "(none)"; }));
  EXPECT_EQ(lbd_->service("web").name, "web");
  EXPECT_EQ(lbd_->stop(), 0);
}

TEST_F(LoopTest, AReaderOfStderrThatDiesDoesNotKill) {
  UniqueFd reader = take_stderr();
  ASSERT_TRUE(start());
  reader.reset();
  write_broken_files(3);
  ASSERT_TRUE(eventually([&] {
    const std::string dropped = json_at(status(), "/loop/dropped_log_lines");
    return dropped != "(none)" && dropped != "0";
  }));
  EXPECT_TRUE(lbd_->running());
  EXPECT_THAT(lbd_->ctl({"status"}).out, HasSubstr("lines lost"));
  EXPECT_EQ(lbd_->stop(), 0);
}

TEST_F(LoopTest, AFifoAmongTheServicesFilesIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(services("pipe.toml").c_str(), 0600), 0);
  ASSERT_TRUE(start());
  EXPECT_TRUE(eventually([&] { return lbd_->service("web").name == "web"; }));
  EXPECT_THAT(json_at(lbd_->json({"sources"}), "/sources/0/warnings/0"), HasSubstr("pipe.toml"));
}

// open() of it, or of a file in it, waits until this is gone, as for a server of files that does not answer.
UniqueFd hang(const std::string& path) {
  UniqueFd fd(::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY));
  EXPECT_TRUE(fd) << std::strerror(errno);
  EXPECT_EQ(::fanotify_mark(fd.get(), FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, AT_FDCWD,
                            path.c_str()),
            0)
      << std::strerror(errno);
  return fd;
}

TEST_F(LoopTest, AServicesFileOnADiskThatHangsDelaysNothingElse) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(eventually([&] { return lbd_->service("web").name == "web"; }));
  replace_file(services("slow.new"),
               "[[service]]\nname = \"slow\"\nlisten = \"127.0.0.1:5001\"\n"
               "backends = [{address = \"127.0.0.1:7002\"}]\n");
  UniqueFd hung = hang(services("slow.new"));
  std::filesystem::rename(services("slow.new"), services("slow.toml"));
  struct pollfd opened {
    hung.get(), POLLIN, 0
  };
  ASSERT_EQ(::poll(&opened, 1, 10'000), 1) << "lbd does not read the file";
  EXPECT_EQ(lbd_->ctl({"drain", "127.0.0.1:7001"}).code, 0);
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7001").state, "draining");
  hung.reset();
  EXPECT_TRUE(eventually([&] { return lbd_->service("slow").name == "slow"; }));
}

TEST_F(LoopTest, AServicesFileOnADiskThatHangsDelaysNoEnd) {
  replace_file(services("slow.toml"), "");
  const UniqueFd hung = hang(services("slow.toml"));
  ASSERT_TRUE(start());
  EXPECT_EQ(lbd_->stop(), 0);
}

TEST_F(LoopTest, IdleConnectionsGiveWay) {
  ASSERT_TRUE(start());
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 150; ++i) {
    idle.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = lbd_->socket();
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(
        ::connect(idle.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
        0);
  }
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(lbd_->ctl({"status"}).code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 15s) << "less than an idle connection's time";
}

TEST_F(LoopTest, ADiskThatHangsDelaysNeitherAnswersNorTheEnd) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(eventually([&] { return lbd_->service("web").name == "web"; }));
  const UniqueFd hung = hang(lbd_->state_dir);
  const Finished drained = lbd_->ctl({"drain", "127.0.0.1:7001"});
  EXPECT_NE(drained.code, 0);
  EXPECT_THAT(drained.all(), HasSubstr("is in force, but not saved: the disk does not answer"));
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7001").state, "draining");
  EXPECT_EQ(lbd_->stop(), 0);
}

TEST_F(LoopTest, TheLongestStallIsTold) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(eventually([&] { return json_at(status(), "/loop/stalled_at") != "null"; }));
  EXPECT_GT(std::stod(json_at(status(), "/loop/longest_stall_seconds")), 0.0);
  EXPECT_THAT(lbd_->ctl({"status"}).out, HasSubstr("longest stall"));
}

}  // namespace
}  // namespace lb::test
