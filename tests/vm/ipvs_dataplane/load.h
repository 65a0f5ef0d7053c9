// Connects again and again and holds some connections all the time; both must never fail. Ends each connection by a reset, as
// IPVS remembers one that was closed in order for two minutes.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "vm/ipvs_dataplane/backend.h"

namespace lb::test {

class SteadyLoad {
 public:
  SteadyLoad(std::string to, int held);
  ~SteadyLoad() { stop(); }
  // The held connections stay until this object goes.
  void stop();

  [[nodiscard]] int made() const { return made_; }
  [[nodiscard]] std::string failures() const;  // one line each, "" when there was none
  void check_held();                           // that each is alive; adds to the failures
  void drop_held();

 private:
  void fail(const std::string& what);

  std::string to_;
  std::vector<Held> held_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> made_ = 0;
  mutable std::mutex mutex_;
  std::string failures_;
  std::thread thread_;
};

}  // namespace lb::test
