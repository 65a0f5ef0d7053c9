// A MarathonSource, the fake Marathons that it asks, and the wipe guard behind it, as in the daemon. Nothing
// sleeps for a result: each test waits for the state that it wants, and fails when that does not come.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include "sources/marathon_source.h"
#include "state/guard.h"
#include "support/fake_marathon.h"
#include "support/temp_folder.h"

namespace lb::test {

class MarathonTest : public testing::Test {
 protected:
  using Lines = std::vector<std::string>;

  MarathonTest();
  ~MarathonTest() override { stop(); }

  // Node 1, 2, ...: the first one leads.
  FakeMarathon& add_node(FakeMarathonOptions options = {});
  // All nodes are endpoints, unless config_ names others. Call again for a restart.
  void start(std::optional<Snapshot> saved = std::nullopt);
  void stop();

  // Lets everything happen until `done`; false when that takes longer than `patience`.
  bool until(const std::function<bool()>& done, std::chrono::milliseconds patience = kPatience);
  // For as long as something must not happen.
  void watch_for(std::chrono::milliseconds time) {
    (void)until([] { return false; }, time);
  }
  // What the daemon would use: "10.0.0.1:31001 active", sorted by service and address.
  [[nodiscard]] Lines used() const;
  bool reaches(const Lines& want, std::chrono::milliseconds patience = kPatience) {
    return until([&] { return used() == want; }, patience);
  }
  bool streams() {
    return until([&] { return source_->status().position.ends_with(", events"); });
  }
  // The smallest number of active backends in use since this was called.
  void forget_lowest() { lowest_ = std::nullopt; }
  [[nodiscard]] std::size_t lowest() const { return lowest_.value_or(active()); }
  [[nodiscard]] std::size_t active() const;

  std::string write(const std::string& name, const std::string& text);

  static constexpr std::chrono::milliseconds kPatience{20'000};

  asio::io_context io_{1};
  TempFolder folder_;
  std::string zk_;
  std::vector<std::unique_ptr<FakeMarathon>> nodes_;
  MarathonSourceConfig config_;
  std::unique_ptr<MarathonSource> source_;
  GuardOptions guard_options_;  // of the next start()
  Guard guard_;
  int snapshots_ = 0;
  std::vector<std::string> errors_;
  std::optional<Snapshot> last_;
  bool mixed_ = false;                                // a service had backends of two apps
  std::map<Port, std::vector<std::string>> origins_;  // the apps that had it, one after the other

 private:
  asio::awaitable<void> follow();
  void admit(const Snapshot& snapshot);
  void follow_guard();
  std::optional<std::size_t> lowest_;
  std::unique_ptr<asio::cancellation_signal> cancel_;
};

}  // namespace lb::test
