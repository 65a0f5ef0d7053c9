// A reconciler over a fake dataplane with a clock and listeners that the test sets.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include <spdlog/spdlog.h>

#include "reconcile/reconciler.h"
#include "support/desired_builder.h"
#include "support/fake_dataplane.h"

namespace lb {

using std::chrono::milliseconds;

class ReconcilerFixture : public testing::Test {
 protected:
  ReconcilerFixture() { spdlog::set_level(spdlog::level::off); }  // hundreds of failures on purpose

  ReconcilerOptions options() {
    return {.shadow = shadow_,
            .read_listeners =
                [this] {
                  ++looks_;
                  return Result<std::vector<Listener>>(listeners_);
                },
            .name_listener = [](const Listener&) { return std::string("nginx (pid 123)"); },
            .random = [] { return 0U; },
            .yield_to = yield_to_,
            .decides_for_host = [this](const std::string&) { return from_files_; },
            .held = &held_};
  }
  // A new lbd over the same kernel.
  Reconciler& start() {
    reconciler_ = std::make_unique<Reconciler>(dataplane_, options());
    reconciler_->adopt(dataplane_.read().value(), now_);
    reconciler_->set_local_addresses({ip("127.0.0.1"), ip("10.0.0.1"), ip("::1")});
    return *reconciler_;
  }
  // Everything that can be done now.
  StepResult run() {
    StepResult sum;
    for (;;) {
      const StepResult r = reconciler_->step(now_, wall_, 256);
      sum.upserted += r.upserted;
      sum.removed += r.removed;
      sum.failed += r.failed;
      if (!r.more) return sum;
    }
  }
  StepResult run(std::vector<DesiredService> services) {
    reconciler_->want(state(std::move(services)));
    return run();
  }
  StepResult after(milliseconds time) {
    now_ += time;
    wall_ += time;
    return run();
  }
  [[nodiscard]] std::vector<IpAddress> addresses(std::string_view k) const {
    const ProgrammedService* s = dataplane_.service(key(k));
    return s ? s->addresses : std::vector<IpAddress>{};
  }
  void listen(std::string_view at, bool v6only = false, Uid uid = 0) {
    const ServiceKey k = key(at);
    listeners_.push_back({k.protocol, k.port, k.address, v6only, 7 + uid, uid});
    std::sort(listeners_.begin(), listeners_.end());
  }

  FakeDataplane dataplane_;
  std::vector<Listener> listeners_;
  int looks_ = 0;
  bool shadow_ = false;
  bool from_files_ = false;
  YieldTo yield_to_;
  HeldPorts held_;
  SteadyTime now_{std::chrono::hours(1)};
  SysTime wall_{std::chrono::hours(1)};
  std::unique_ptr<Reconciler> reconciler_;
};

}  // namespace lb
