// Looks for itself at backends that clients could not connect to: a failure may be the client's own doing, so a connect that lbd's
// hooks leave alone decides.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "health/monitor.h"
#include "model/programmed.h"

namespace lb {

class SuspectProber {
 public:
  static constexpr std::chrono::milliseconds kTimeout{3'000};
  // From one look at an address to the next, however many clients fail there.
  static constexpr std::chrono::milliseconds kRest{1'000};

  // `confirmed` gets what lbd has met itself, for each service that was told of. `probe` is Prober::probe, or a test's.
  SuspectProber(asio::io_context& io, std::function<void(const ConnectFailure&)> confirmed,
                HealthMonitor::Probe probe = {}, std::chrono::milliseconds rest = kRest);
  ~SuspectProber();
  SuspectProber(const SuspectProber&) = delete;
  SuspectProber& operator=(const SuspectProber&) = delete;

  // A connect has failed: one look begins, now or when others have ended.
  void look(const ConnectFailure& failure);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
