// One source, and the turn as the daemon makes it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "state/merge.h"
#include "support/snapshot_builder.h"
#include "unit/state/values.h"

namespace lb {

using namespace std::chrono_literals;

// Both clocks, which go on together.
constexpr Moment both(SysTime wall) {
  return {wall, std::chrono::steady_clock::time_point(wall.time_since_epoch())};
}

inline Drain drain_of(std::string_view target, SysTime since) {
  return {Drain::parse_target(target).value(), std::nullopt, since, std::nullopt, {}};
}

class Merge : public testing::Test {
 protected:
  const MergeResult& turn(std::vector<ServicePtr> services, SysTime now) {
    snapshot_ = snapshot(std::move(services));
    const SourceInput source{"file:/x", &snapshot_, ports_, false};
    view_ = resolve_claims({&source, 1}, nullptr);
    departures_.update(view_, both(now));
    return again(now);
  }
  const MergeResult& again(SysTime now) {
    MergeResult next = merge({.view = &view_,
                              .drains = &drains_,
                              .departures = &departures_,
                              .conflicts = &conflicts_,
                              .health = &health_,
                              .owners = &owners_,
                              .scope_all = scope_all_,
                              .previous = first_ ? nullptr : &result_,
                              .now = both(now)});
    result_ = std::move(next);
    first_ = false;
    return result_;
  }
  const DesiredService& web() const { return *result_.state.at(kWeb); }
  // "10.0.0.1:80 active 100": address, state, reason, effective weight.
  std::vector<std::string> rows() const {
    std::vector<std::string> out;
    for (const DesiredBackend& b : web().backends) {
      std::string row = b.backend.address.to_string() + " " + std::string(to_string(b.state));
      if (b.reason != Reason::None) row += "/" + std::string(to_string(b.reason));
      if (b.departed) row += " departed";
      out.push_back(row + " " + std::to_string(b.effective_weight));
    }
    return out;
  }

  Snapshot snapshot_;
  PortRanges ports_;
  View view_;
  Drains drains_;
  Departures departures_{60s};
  std::map<ServiceKey, std::string> conflicts_;
  HealthVerdicts health_;
  OwnerVerdicts owners_;
  bool scope_all_ = false;
  MergeResult result_;
  bool first_ = true;

  static ServicePtr with_check(const ServicePtr& service) {
    auto out = std::make_shared<Service>(*service);
    out->check = HealthCheck();
    return out;
  }
  static ServicePtr both_checked(BackendState state, Reason reason) {
    return with_check(offered("127.0.0.1:80", {listed("10.0.0.1:80", state, reason),
                                               listed("10.0.0.2:80", state, reason)}));
  }
  void find_down(std::string_view backend, SysTime since) {
    health_[{kWeb, Address::parse(backend).value()}] = {false, since, "connect: refused"};
  }

  const ServicePtr two_ =
      offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80", 7)});
  const ServicePtr one_ = offered("127.0.0.1:80", {listed("10.0.0.1:80")});
};

}  // namespace lb
