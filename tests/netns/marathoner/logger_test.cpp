// `lbd logger`, and what an idle listener costs.
#include "netns/marathoner/fixture.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

namespace lb::test {
namespace {

class LoggerNetns : public MarathonerNetns {
 protected:
  void start() {
    start_marathons(1);
    marathon().add_app({.id = "/web", .ports = {10001}});
    launch("/web", 31001);
    start_updaters(1);
    logger_host_ = std::make_unique<Host>(*sandbox_, "logger", "10.79.4.1");
  }
  std::unique_ptr<Process> log(const std::string& file, const Command& more = {}) {
    Command command{program("lbd"), "logger", "-u", updater_addresses()};
    command.insert(command.end(), more.begin(), more.end());
    return std::make_unique<Process>(logger_host_->wrap(command), logger_host_->file(file));
  }
  [[nodiscard]] std::vector<std::string> lines(const std::string& file) const {
    std::istringstream in(read_text(logger_host_->file(file)));
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);)
      if (line.starts_with('{')) out.push_back(line);
    return out;
  }
  std::unique_ptr<Host> logger_host_;
};

TEST_F(LoggerNetns, PrintsEachChangeAsOneLineOfJson) {
  start();
  const auto logger = log("changes");
  ASSERT_TRUE(eventually([&] { return lines("changes").size() == 1; }, 10s));
  EXPECT_EQ(json_at(lines("changes")[0], "/changes/0/change"), "service-added");
  EXPECT_EQ(json_at(lines("changes")[0], "/changes/0/name"), "web");
  EXPECT_EQ(json_at(lines("changes")[0], "/changes/1/backend"), tasks_[0]->address);
  const auto& task = launch("/web", 31001);
  ASSERT_TRUE(eventually([&] { return lines("changes").size() == 2; }, 10s));
  const std::string added = lines("changes")[1];
  EXPECT_EQ(json_at(added, "/changes/0/change"), "backend-added");
  EXPECT_EQ(json_at(added, "/changes/0/id"), task.id);
  EXPECT_EQ(json_size(added, "/changes"), 1);
  EXPECT_TRUE(json_at(added, "/time").ends_with("Z")) << json_at(added, "/time");
  kill_in_marathon(task.address);
  ASSERT_TRUE(eventually(
      [&] { return lines("changes").back().find("backend-removed") != std::string::npos; }, 10s));
}

TEST_F(LoggerNetns, PrintsWholeStatesWhenAsked) {
  start();
  const auto logger = log("full", {"--full"});
  ASSERT_TRUE(eventually([&] { return !lines("full").empty(); }, 10s));
  EXPECT_EQ(json_at(lines("full")[0], "/services/0/name"), "web");
  EXPECT_EQ(json_at(lines("full")[0], "/services/0/backends/0/address"), tasks_[0]->address);
}

TEST_F(LoggerNetns, HoldsUpNoDrain) {
  start();
  launch("/web", 31001);
  start_listeners(1);
  const auto logger = log("changes");
  ASSERT_TRUE(all_have("web", 2));
  ASSERT_TRUE(eventually([&] { return !lines("changes").empty(); }, 10s));
  EXPECT_EQ(
      updater(0).ctl({"drain", "--fleet", tasks_[0]->address, "--wait", "--timeout", "40s"}).code,
      0);
}

// Clock ticks of CPU that a process has used, and how often it gave the CPU away by itself.
std::pair<long, long> used_by(pid_t pid) {
  std::istringstream stat(read_text(fmt::format("/proc/{}/stat", pid)));
  std::string field;
  long ticks = 0;
  for (int i = 1; stat >> field; ++i)
    if (i == 14 || i == 15) ticks += std::stol(field);
  const std::string status = read_text(fmt::format("/proc/{}/status", pid));
  const auto at = status.find("voluntary_ctxt_switches:");
  return {ticks, std::stol(status.substr(at + 24))};
}

TEST_F(LoggerNetns, AnIdleListenerSleeps) {
  start();
  start_listeners(1);
  ASSERT_TRUE(all_have("web", 1));
  std::this_thread::sleep_for(6s);  // the first pings
  const auto before = used_by(listener(0).pid());
  std::this_thread::sleep_for(20s);
  const auto after = used_by(listener(0).pid());
  std::printf("idle listener: %ld ms of CPU and %ld wake-ups in 20 s\n",
              (after.first - before.first) * 1000 / ::sysconf(_SC_CLK_TCK),
              after.second - before.second);
  EXPECT_LE(after.first - before.first, 4) << "ticks of 10 ms in 20 s: seen is one";
}

}  // namespace
}  // namespace lb::test
