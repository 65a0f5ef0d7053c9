#include "netns/marathoner/fixture.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

namespace lb::test {

void MarathonerNetns::SetUp() {
  if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
  sandbox_.emplace();
  wire_.emplace();
}

void MarathonerNetns::start_marathons(int count, std::string version) {
  version_ = std::move(version);
  std::filesystem::create_directories(sandbox_->folder() + "/zk");
  for (int i = 0; i < count; ++i) {
    const auto number = i + 1;
    marathons_.push_back({std::make_unique<Host>(*sandbox_, fmt::format("marathon{}", number),
                                                 fmt::format("10.79.1.{}", number)),
                          nullptr, nullptr});
    start_marathon(static_cast<std::size_t>(i));
  }
}

void MarathonerNetns::start_marathon(std::size_t i) {
  MarathonNode& node = marathons_[i];
  const std::string control = node.host->file("control");
  ::unlink(control.c_str());
  node.process = std::make_unique<Process>(
      node.host->wrap({LB_FAKE_MARATHON, "--version", version_, "--node", std::to_string(i + 1),
                       "--zk", sandbox_->folder() + "/zk", "--listen", node.host->ip() + ":8080",
                       "--control", control}),
      node.host->file("log"));
  node.control = std::make_unique<FakeMarathonSocket>(control);
  node.control->wait_for_leader();
}

std::string MarathonerNetns::marathon_urls() const {
  std::string out;
  for (const MarathonNode& node : marathons_)
    out += fmt::format("{}http://{}:8080", out.empty() ? "" : ",", node.host->ip());
  return out;
}

std::string MarathonerNetns::updater_addresses() const {
  std::string out;
  for (const auto& host : updaters_)
    out += fmt::format("{}{}:7676", out.empty() ? "" : ",", host->ip());
  return out;
}

void MarathonerNetns::start_updaters(int count, const Command& more) {
  updater_flags_ = more;
  for (int i = 0; i < count; ++i) {
    const auto number = i + 1;
    updaters_.push_back(std::make_unique<Host>(*sandbox_, fmt::format("updater{}", number),
                                               fmt::format("10.79.2.{}", number)));
    ASSERT_TRUE(start_updater(updaters_.size() - 1));
  }
}

bool MarathonerNetns::start_updater(std::size_t i) {
  Command words{"-m", marathon_urls()};
  words.insert(words.end(), updater_flags_.begin(), updater_flags_.end());
  return updater(i).launch(updater(i).preset("updater", words));
}

void MarathonerNetns::start_listeners(int count) {
  for (int i = 0; i < count; ++i) {
    const auto number = i + 1;
    listeners_.push_back(std::make_unique<Host>(*sandbox_, fmt::format("listener{}", number),
                                                fmt::format("10.79.3.{}", number)));
    ASSERT_TRUE(start_listener(listeners_.size() - 1));
  }
}

bool MarathonerNetns::start_listener(std::size_t i) {
  return listener(i).launch(
      listener(i).preset("listener", {"-u", updater_addresses(), "-b", "127.0.0.1"}));
}

MarathonerNetns::TaskServer& MarathonerNetns::launch(const std::string& app, int port) {
  const std::string ip = fmt::format("10.79.200.{}", next_server_++);
  Wire::add_address(ip);
  auto task = std::make_unique<TaskServer>();
  task->address = fmt::format("{}:{}", ip, port);
  task->server = std::make_unique<Server>(task->address, task->address);
  task->id = marathon().launch(app, ip, {port}, std::nullopt);
  return *tasks_.emplace_back(std::move(task));
}

void MarathonerNetns::kill_in_marathon(const std::string& address) {
  const auto found = std::find_if(tasks_.begin(), tasks_.end(),
                                  [&](const auto& t) { return t->address == address; });
  marathon().kill((*found)->id);
}

bool MarathonerNetns::all_have(const std::string& service, std::size_t in_use,
                               std::chrono::milliseconds limit) {
  return eventually(
      [&] {
        return std::all_of(listeners_.begin(), listeners_.end(), [&](const auto& host) {
          const auto backends = host->lbd().service(service).backends;
          return static_cast<std::size_t>(
                     std::count_if(backends.begin(), backends.end(),
                                   [](const auto& b) { return b.effective_weight > 0; })) == in_use;
        });
      },
      limit);
}

}  // namespace lb::test
