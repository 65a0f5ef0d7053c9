// The half of the reconciler that runs because time has passed: retries, listeners, drift.
#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "reconcile/reconciler.h"

namespace lb {
namespace {

// Said when it begins and when it changes; problems() has it while it lasts.
template <class T>
void tell(std::string& last, std::string_view what, const Result<T>& result) {
  const std::string error =
      result ? "" : fmt::format("cannot {}: {}", what, result.error().message());
  if (!error.empty() && error != last) spdlog::warn("{}", error);
  last = error;
}

}  // namespace

std::vector<std::string> Reconciler::problems() const {
  std::vector<std::string> out;
  for (const std::string* error : {&listeners_error_, &drift_error_})
    if (!error->empty()) out.push_back(*error);
  return out;
}

SteadyTime Reconciler::next_wakeup() const {
  if (!dirty_.empty() ||
      std::any_of(queues_.begin(), queues_.end(), [](const auto& queue) { return !queue.empty(); }))
    return SteadyTime::min();
  SteadyTime next = std::min(next_listeners(), next_drift_);
  for (const auto& [key, failure] : failures_) next = std::min(next, failure.retry_at);
  return next;
}

void Reconciler::do_due(SteadyTime now) {
  for (const auto& [key, failure] : failures_)
    if (failure.retry_at <= now) mark(key);
  if (next_listeners() <= now) look_for_listeners(now);
  if (next_drift_ <= now) check_drift(now);
}

SteadyTime Reconciler::next_listeners() const {
  const bool waiting = std::any_of(notes_.begin(), notes_.end(),
                                   [](const auto& entry) { return entry.second.waits; });
  return looked_for_listeners_ + (waiting ? kListenersInConflict : kListeners);
}

void Reconciler::look_for_listeners(SteadyTime now) {
  looked_for_listeners_ = now;
  auto found = options_.read_listeners();
  // Not knowing is no reason to stop: what was seen last stays in force.
  tell(listeners_error_, "look for listeners", found);
  if (!found) return;
  if (*found == listeners_) return;
  mark_ports_that_differ(std::exchange(listeners_, *std::move(found)));
}

void Reconciler::mark_ports_that_differ(const std::vector<Listener>& before) {
  std::vector<Listener> differ;
  std::set_symmetric_difference(before.begin(), before.end(), listeners_.begin(), listeners_.end(),
                                std::back_inserter(differ));
  std::set<std::pair<Protocol, Port>> ports;
  for (const Listener& l : differ) ports.emplace(l.protocol, l.port);
  for (const auto& [key, service] : desired_)
    if (ports.contains({key.protocol, key.port})) mark(key);
}

void Reconciler::check_drift(SteadyTime now) {
  next_drift_ = now + kDrift;
  const auto observed = dataplane_.read();
  tell(drift_error_, "read back what is programmed", observed);
  if (!observed) return;
  if (const std::size_t drifted = take_over_observed(to_applied(*observed)); drifted > 0)
    spdlog::warn("drifted={} services differ from what was programmed, repairing", drifted);
}

std::size_t Reconciler::take_over_observed(AppliedState observed) {
  std::size_t drifted = 0;
  const Plan differences = diff(observed, applied_);
  for (const ServiceKey& key : differences.remove) {  // the kernel has it no more
    set_applied(key, std::nullopt);
    unclaimed_.erase(key);
    mark(key);
    ++drifted;
  }
  for (const auto* keys : {&differences.release, &differences.upsert})
    for (const ServiceKey& key : *keys) {
      if (!applied_.contains(key) && !desired_.contains(key)) unclaimed_.insert(key);
      set_applied(key, std::move(observed.at(key)));
      mark(key);
      ++drifted;
    }
  return drifted;
}

}  // namespace lb
