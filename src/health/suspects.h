// Looks for itself at backends that clients could not connect to, or that the kernel has ejected: a failure
// may be the client's own doing, so a connect that lbd's hooks leave alone decides.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/io_context.hpp>

#include "health/monitor.h"
#include "model/programmed.h"

namespace lb {

class SuspectProber {
 public:
  static constexpr std::chrono::milliseconds kTimeout{3'000};
  // After a SYN that was sent again: lbd's own is sent again once as well.
  static constexpr std::chrono::milliseconds kQuickTimeout{1'300};
  // From one look at an address to the next, however many clients fail there.
  static constexpr std::chrono::milliseconds kRest{1'000};

  struct Looked {
    ServiceKey service;
    Address backend;
    const Result<>& found;
    bool quick;  // by kQuickTimeout: a time-out says no more than that some packets were lost
  };
  // Gets what lbd has met itself, for each service that was told of. Returns after how long the backend
  // is to be looked at again for this service; nullopt: no more. What says nothing of the backend
  // (tells_of_backend) is not told; the look is repeated after the rest.
  using Tell = std::function<std::optional<std::chrono::milliseconds>(const Looked&)>;

  // `probe` is Prober::probe, or a test's.
  SuspectProber(asio::io_context& io, Tell tell, HealthMonitor::Probe probe = {},
                std::chrono::milliseconds rest = kRest);
  ~SuspectProber();
  SuspectProber(const SuspectProber&) = delete;
  SuspectProber& operator=(const SuspectProber&) = delete;

  // A connect has failed: one look begins, now or when the address has rested and others have ended.
  void look(const ConnectFailure& failure);
  void look_later(const ConnectFailure& failure, std::chrono::milliseconds after);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// What lbd has met, as a failure of a client's is told.
[[nodiscard]] ConnectFailure as_met(const SuspectProber::Looked& looked);

}  // namespace lb
