// Looks after backends whose service has a health check: one prober per backend, rise and fall, and
// the verdicts that state/merge.h asks for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/time.h"
#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

// What lbd itself found out about a backend.
struct HealthVerdict {
  bool up = true;
  SysTime since;
  std::string error;  // of the last probe, while it is down: "connect: Connection refused"

  bool operator==(const HealthVerdict&) const = default;
};
// By service and backend; a backend that was never looked at to the end is absent.
using HealthVerdicts = std::map<std::pair<ServiceKey, Address>, HealthVerdict>;

class HealthMonitor {
 public:
  // `changed` is called from the loop whenever verdicts() differs.
  HealthMonitor(asio::io_context& io, std::function<void()> changed,
                std::function<SysTime()> wall = sys_now);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // What is to be looked at from now on: all TCP services that are in force. Probes of what stays the same go
  // on, with their verdicts; two services that probe the same address in the same way share it.
  void watch(const std::vector<ServicePtr>& services);
  // Verdicts of an earlier run, by which it starts: a backend that was down stays down until it rises.
  void restore(HealthVerdicts verdicts);

  [[nodiscard]] const HealthVerdicts& verdicts() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
