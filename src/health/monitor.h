// Looks after backends whose service has a health check: one prober per backend, rise and fall, and
// the verdicts that state/merge.h asks for.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "base/time.h"
#include "health/verdict.h"
#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

class HealthMonitor {
 public:
  // Looks once, within check.timeout: Prober::probe, or a test's.
  using Probe = std::function<asio::awaitable<Result<>>(Address, HealthCheck)>;

  // `changed` is called whenever verdicts() differs, also within watch().
  HealthMonitor(asio::io_context& io, std::function<void()> changed,
                std::function<SysTime()> wall = sys_now, Probe probe = {});
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // What is to be looked at from now on: the services in force, sorted by key; those without a check
  // and those of UDP are passed over. Probes of what stays the same go on, with their verdicts; two
  // services that probe the same address in the same way share it.
  void watch(const std::vector<ServicePtr>& services);
  // Verdicts of an earlier run, for watch(): a backend that was down stays down until it rises.
  void restore(HealthVerdicts verdicts);

  [[nodiscard]] const HealthVerdicts& verdicts() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
