// A real lbd with the IPVS dataplane in a network of its own, on a kernel that has IPVS: these tests run in the machines of
// tests/vm/run.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/daemon.h"
#include "support/sockets.h"
#include "vm/ipvs_dataplane/backend.h"
#include "vm/ipvs_dataplane/network.h"

namespace lb::test {

constexpr auto kWeb = "127.0.0.1:8080";  // the service of most tests

// The backends that run in every test, each on TCP and UDP, port 9000.
constexpr auto kLocal = "127.0.0.1:9000";
constexpr auto kHost = "10.9.0.1:9000";
constexpr auto kNear = "10.9.0.11:9000";
constexpr auto kSecond = "10.8.0.12:9000";
constexpr auto kLocal6 = "[::1]:9000";
constexpr auto kHost6 = "[fd09::1]:9000";
constexpr auto kNear6 = "[fd09::11]:9000";
constexpr auto kSecond6 = "[fd08::12]:9000";

// One [[service]] of a services file, round-robin.
std::string service(std::string_view name, std::string_view listen,
                    const std::vector<std::string>& backends, std::string_view more = "");

class IpvsVm : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] std::string file(std::string_view name) const {
    return sandbox_->folder() + "/" + std::string(name);
  }
  void write_services(const std::string& toml) const { replace_file(file("services.toml"), toml); }
  void configure(std::string_view mode = "ipvs", const std::string& more = {}) const;
  // lbd with these services, all programmed.
  void serve(const std::string& toml);
  void change(const std::string& toml);  // likewise, while lbd runs
  // Every service of the file is listed, and what it lists is in the kernel.
  bool programmed();

  [[nodiscard]] std::string status(const std::string& pointer) const {
    return json_at(lbd_->json({"status"}), pointer);
  }
  [[nodiscard]] std::string notes() const { return status("/dataplane/notes"); }
  [[nodiscard]] static std::string ipvs();  // ipvsadm -Sn
  // How the kernel lists the tables since the last change is in the journal: its last line.
  [[nodiscard]] bool all_is_noted() const;
  // `lbd detach` after lbd has ended, and that nothing of it is left.
  void detach();

  std::optional<Sandbox> sandbox_;
  std::optional<Network> network_;
  std::unique_ptr<Daemon> lbd_;
  std::vector<std::unique_ptr<Backend>> backends_;
};

}  // namespace lb::test
