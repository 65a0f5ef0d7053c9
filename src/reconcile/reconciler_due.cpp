// The half of the reconciler that runs because time has passed: retries, listeners, drift.
#include <algorithm>
#include <functional>
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
  if (!dirty_.empty() || !to_compare_.empty() ||
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
  if (next_drift_ <= now || !to_compare_.empty()) check_drift(now);
}

SteadyTime Reconciler::next_listeners() const {
  const bool waiting = std::any_of(notes_.begin(), notes_.end(),
                                   [](const auto& entry) { return entry.second.waits; });
  return looked_for_listeners_ + (waiting ? kListenersInConflict : kListeners);
}

void Reconciler::look_for_listeners(SteadyTime now) {
  looked_for_listeners_ = now;
  std::erase_if(told_, [&](const auto& told) {
    return now - told.second.at >= kToldAgain && !notes_.contains(told.first);
  });
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

void Reconciler::begin_drift(SteadyTime now) {
  next_drift_ = now + kDrift;
  auto there = dataplane_.keys();
  tell(drift_error_, "read back what is programmed", there);
  if (!there) return;
  drifted_ = 0;
  to_compare_ = *std::move(there);
  for (const auto& [key, service] : applied_) to_compare_.push_back(key);
  std::sort(to_compare_.begin(), to_compare_.end(), std::greater<>());
  to_compare_.erase(std::unique(to_compare_.begin(), to_compare_.end()), to_compare_.end());
}

void Reconciler::check_drift(SteadyTime now) {
  if (to_compare_.empty()) begin_drift(now);
  const std::size_t count = std::min(kCompared, to_compare_.size());
  if (count == 0) return;
  const std::vector<ServiceKey> keys(to_compare_.rbegin(),
                                     to_compare_.rbegin() + static_cast<std::ptrdiff_t>(count));
  to_compare_.resize(to_compare_.size() - count);
  const auto observed = dataplane_.read_some(keys);
  tell(drift_error_, "read back what is programmed", observed);
  if (!observed) return to_compare_.clear();
  compare(keys, to_applied(*observed));
  if (to_compare_.empty() && drifted_ > 0)
    spdlog::warn("drifted={} services differ from what was programmed, repairing", drifted_);
}

void Reconciler::compare(std::span<const ServiceKey> keys, AppliedState observed) {
  for (const ServiceKey& key : keys) {
    const auto seen = observed.find(key);
    const auto known = applied_.find(key);
    const bool is_there = seen != observed.end(), is_known = known != applied_.end();
    if (is_there == is_known && (!is_there || seen->second == known->second)) continue;
    if (is_there) {
      if (!is_known && !desired_.contains(key)) unclaimed_.insert(key);
      set_applied(key, std::move(seen->second));
    } else {  // the kernel has it no more
      set_applied(key, std::nullopt);
      unclaimed_.erase(key);
    }
    mark(key);
    ++drifted_;
  }
}

}  // namespace lb
