// A real lbd in a sandbox, three small servers on 127.0.0.1:7001 to 7003 that greet with their names
// "1" to "3", and the services file that lbd reads.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/daemon.h"
#include "support/sockets.h"

namespace lb::test {

constexpr auto kWeb = "127.0.0.1:5000";
constexpr auto kOne = "127.0.0.1:7001";
constexpr auto kTwo = "127.0.0.1:7002";
constexpr auto kThree = "127.0.0.1:7003";

// One [[service]] of a services file.
std::string service_toml(std::string_view name, std::string_view listen,
                         const std::vector<std::string>& backends, std::string_view more = "");

// How often who answered; "errno N" for failures.
std::map<std::string, int> ask_often(std::string_view to, int times);

// Short connections to a service until stopped, with a pause after each.
class Load {
 public:
  explicit Load(std::string to = kWeb, std::chrono::microseconds pause = {});
  ~Load() { stop(); }
  void stop();
  [[nodiscard]] int made() const { return made_; }
  [[nodiscard]] int failed() const { return failed_; }

 private:
  std::string to_;
  std::chrono::microseconds pause_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> made_ = 0, failed_ = 0;
  std::thread thread_;
};

class DaemonNetns : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // lbd with one file source on services_path().
  [[nodiscard]] std::string file_source(std::string_view path = {}) const;
  [[nodiscard]] std::string services_path() const { return file("services.toml"); }
  [[nodiscard]] std::string file(std::string_view name) const {
    return sandbox_->folder() + "/" + std::string(name);
  }
  void write_services(const std::string& toml) const { replace_file(services_path(), toml); }

  // Service "web" on kWeb with these backends from a file, lbd running, the service programmed.
  void serve_web(const std::vector<std::string>& backends, const std::string& more_config = {});

  bool becomes(std::string_view service, std::string_view condition);
  bool backend_becomes(std::string_view service, std::string_view backend, std::string_view state);
  bool is_gone(std::string_view service, std::string_view backend) {
    return backend_becomes(service, backend, "(none)");
  }

  std::optional<Sandbox> sandbox_;
  std::unique_ptr<Daemon> lbd_;
  std::vector<std::unique_ptr<Server>> servers_;
};

}  // namespace lb::test
