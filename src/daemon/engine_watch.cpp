// The part of the engine that looks after what runs out: departed backends, and drains that end connections.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/engine.h"

namespace lb {
namespace {

const DesiredBackend* find_departed(const DesiredService& service, const Address& address) {
  const auto found = std::lower_bound(
      service.backends.begin(), service.backends.end(), address,
      [](const DesiredBackend& b, const Address& a) { return b.backend.address < a; });
  const bool departed =
      found != service.backends.end() && found->backend.address == address && found->departed;
  return departed ? &*found : nullptr;
}

}  // namespace

bool Engine::terminates(const DesiredService& service, const DesiredBackend& backend,
                        SteadyTime now) const {
  if (settings_.terminate_on_timeout && backend.departed && backend.reason == Reason::Lingering)
    return true;
  const Drain* drain = drains_.find(backend.backend, service.key, service.name);
  return drain && drain->terminate_at && drain->terminate_at->passed(now);
}

void Engine::plan_watch(SteadyTime now) {
  watched_.clear();
  Idle departed;
  for (const auto& [key, departure] : departures_.all()) {
    WatchedBackend watched{key.first, key.second, false};
    if (const auto service = reconciler_.desired().find(key.first);
        service != reconciler_.desired().end())
      if (const DesiredBackend* b = find_departed(*service->second, key.second)) {
        watched.terminate = terminates(*service->second, *b, now);
        if (has_become_last_resort(*b, key, now, departed)) continue;
      }
    watched_.push_back(watched);
  }
  departed_ = std::move(departed);
  const bool some_end =
      std::any_of(drains_.all().begin(), drains_.all().end(),
                  [&](const Drain& d) { return d.terminate_at && d.terminate_at->passed(now); });
  if (some_end)
    for (const auto& [key, service] : reconciler_.desired())
      for (const DesiredBackend& b : service->backends)
        if (b.reason == Reason::Operator && !b.departed && terminates(*service, b, now))
          watched_.push_back({key, b.backend.address, true});
  std::sort(watched_.begin(), watched_.end());
  drain_watch_.keep_only(watched_);
}

// That it has left was believed at once, as others were in use. They are so no more, and what was wrong may be the
// source: without connections it stays for some readings.
bool Engine::has_become_last_resort(const DesiredBackend& b, const Departures::Key& key,
                                    SteadyTime now, Idle& departed) const {
  const auto before = departed_.find(key);
  const bool was_idle = before != departed_.end() && !before->second;
  if (b.effective_weight == 0) {
    departed.emplace(key, std::nullopt);
    return false;
  }
  const SteadyTime since = was_idle                    ? now
                           : before != departed_.end() ? *before->second
                                                       : SteadyTime::min();
  departed.emplace(key, since);
  return now < since + kLastResort;
}

void Engine::plan_next_deadline(SteadyTime now) {
  deadline_ = departures_.next_deadline(now);
  for (const auto& [key, since] : departed_)
    if (since && *since + kLastResort > now)
      deadline_ = std::min(deadline_.value_or(SteadyTime::max()), *since + kLastResort);
  for (const Drain& drain : drains_.all())
    if (drain.terminate_at && !drain.terminate_at->passed(now))
      deadline_ = std::min(deadline_.value_or(drain.terminate_at->at), drain.terminate_at->at);
}

// What cannot be programmed may still get connections, and its count of 0 means nothing.
std::vector<WatchedBackend> Engine::programmed(std::vector<WatchedBackend> watched) const {
  if (!reconciler_.failures().empty())
    std::erase_if(watched, [&](const WatchedBackend& w) {
      return !w.terminate && reconciler_.failures().contains(w.service);
    });
  return watched;
}

bool Engine::look_after_drains(SteadyTime now) {
  // Tens of thousands may leave together, while others wait for the loop.
  const auto enough = [this, now] { return clocks_.steady() - now >= kStep; };
  const DrainWatch::Look look = drain_watch_.look(programmed(watched_), enough);
  if (look.terminated > 0) spdlog::info("terminated connections={}", look.terminated);
  log_change(drain_error_, look.errors.empty() ? "" : look.errors.front().message());
  const std::set<DrainWatch::Id> finished(look.finished.begin(), look.finished.end());
  std::erase_if(watched_, [&](const WatchedBackend& w) {
    return finished.contains({w.service, w.backend});
  });
  for (const auto& id : finished) {
    if (!departures_.finish(id.first, id.second)) continue;
    spdlog::info("service={} backend={} is gone: no connection is left", id.first.to_string(),
                 id.second.to_string());
    some_finished_ = true;
  }
  if (look.more) return true;
  next_look_ = now + DrainWatch::kInterval;
  replan_ = std::exchange(some_finished_, false) || replan_;  // once for all of them
  return false;
}

}  // namespace lb
