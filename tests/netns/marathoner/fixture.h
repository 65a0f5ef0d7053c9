// The whole of Marathoner's picture: Marathons, updaters and listeners on machines of their own, with
// tasks that are servers in the sandbox.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/fake_marathon.h"
#include "support/host.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {

using namespace std::chrono_literals;

class MarathonerNetns : public testing::Test {
 protected:
  struct MarathonNode {
    std::unique_ptr<Host> host;
    std::unique_ptr<Process> process;
    std::unique_ptr<FakeMarathonSocket> control;
  };
  struct TaskServer {
    std::string id;       // Marathon's
    std::string address;  // "10.79.200.1:31001", and what it greets with
    std::unique_ptr<Server> server;
  };

  void SetUp() override;

  void start_marathons(int count, std::string version = "1.8");
  void start_marathon(std::size_t i);
  void start_updaters(int count, const Command& more = {"-i", "1"});
  bool start_updater(std::size_t i);
  void start_listeners(int count);
  bool start_listener(std::size_t i);

  // One more task of the app, with a server behind it.
  TaskServer& launch(const std::string& app, int port);
  // Ends in Marathon, and the server with it.
  void kill_in_marathon(const std::string& address);

  [[nodiscard]] FakeMarathonSocket& marathon(std::size_t i = 0) { return *marathons_[i].control; }
  [[nodiscard]] Daemon& updater(std::size_t i) { return updaters_[i]->lbd(); }
  [[nodiscard]] Daemon& listener(std::size_t i) { return listeners_[i]->lbd(); }
  [[nodiscard]] std::string updater_addresses() const;
  [[nodiscard]] std::string marathon_urls() const;
  // Every listener lists so many backends in use for the service.
  [[nodiscard]] bool all_have(const std::string& service, std::size_t in_use,
                              std::chrono::milliseconds limit = 20s);

  std::optional<Sandbox> sandbox_;
  std::optional<Wire> wire_;
  std::string version_;
  std::vector<MarathonNode> marathons_;
  std::vector<std::unique_ptr<Host>> updaters_, listeners_;
  Command updater_flags_;
  std::vector<std::unique_ptr<TaskServer>> tasks_;
  int next_server_ = 1;
};

}  // namespace lb::test
