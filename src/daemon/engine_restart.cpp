// What a restart finds in the kernel, and what of it is newer than the disk.
#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/engine.h"
#include "daemon/slices.h"
#include "state/catch_up.h"
#include "state/lost_drains.h"

namespace lb {
namespace {

// A dataplane that cannot count knows a TCP backend for as long as it may have connections.
bool may_have_connections(Protocol protocol, const ObservedBackend& backend) {
  return backend.active_connections.value_or(protocol == Protocol::Tcp ? 1 : 0) > 0;
}

bool names(const View& view, const ServiceKey& key) {
  const auto found = std::lower_bound(
      view.services.begin(), view.services.end(), key,
      [](const OwnedService& s, const ServiceKey& k) { return s.service->key < k; });
  return found != view.services.end() && found->service->key == key;
}

}  // namespace

// A service that the kernel has, and that a source names for the first time. What the source does not name in it left,
// and the disk has not heard of that. `all`: what the kernel has, if it was just read.
void Engine::adopt_claimed(const std::optional<Observed>& all, Moment now) {
  for (const ServiceKey& key : reconciler_.unclaimed()) {
    if (!names(view_, key)) continue;
    const Result<ObservedService> fresh = all ? fail("read") : dataplane_.read(key);
    const ObservedService* service = all ? find_service(*all, key) : fresh ? &*fresh : nullptr;
    if (service == nullptr || !service->programmed) continue;
    for (const ObservedBackend& b : service->backends)
      if (b.listed && may_have_connections(key.protocol, b)) departures_.adopt(key, b.address, now);
  }
}

// Once all sources have spoken, what the kernel has and no source named has left while we were away: it
// departs like anything else, so that its connections run out. Of many services a slice in each turn.
void Engine::adopt_leftovers(Moment now) {
  if (leftovers_adopted_) return;
  if (!std::all_of(slots_.begin(), slots_.end(),
                   [](const auto& slot) { return slot->delivered(); })) {
    leftovers_.reset();  // a reload has brought new ones
    return;
  }
  const auto failed = [this](const Error& error) {
    leftovers_.reset();  // begun again with the next look at the dataplane
    log_change(leftovers_error_, "cannot read what the kernel still has: " + error.message());
  };
  if (!leftovers_) {
    auto keys = dataplane_.keys();
    if (!keys) return failed(keys.error());
    leftovers_ = *std::move(keys);
  }
  const std::size_t rest = leftovers_->size() - std::min(kSlice, leftovers_->size());
  const auto observed = dataplane_.read_some(std::span(*leftovers_).subspan(rest));
  if (!observed) return failed(observed.error());
  for (const ObservedService& service : observed->services)
    for (const ObservedBackend& b : service.backends)
      if (b.listed || may_have_connections(service.key.protocol, b))
        departures_.adopt(service.key, b.address, now);
  leftovers_->resize(rest);
  if (rest > 0) return;
  leftovers_.reset();
  leftovers_adopted_ = true;
  log_change(leftovers_error_, "");
}

// What the kernel uses has come back since it left, and so has a service of which it uses anything: what
// left that one is found when a source names it.
void Engine::forget_contradicted_departures(const Observed& observed, const View& view) {
  std::set<ServiceKey> used;
  std::vector<Departures::Key> back;
  for (const ObservedService& service : observed.services)
    for (const ObservedBackend& b : service.backends) {
      if (!b.listed || b.weight == 0) continue;
      back.emplace_back(service.key, b.address);
      used.insert(service.key);
    }
  for (const auto& [id, departure] : departures_.all())
    if (used.contains(id.first) && !names(view, id.first)) back.push_back(id);
  for (const Departures::Key& id : back) (void)departures_.finish(id.first, id.second);
}

// The disk may be behind, and the sources may be away.
void Engine::catch_up() {
  if (std::exchange(caught_up_, true) || !found_) return;
  (void)verdicts_.set(not_contradicted(verdicts_.down(), *found_));
  for (const auto& slot : saved_slots()) {
    if (slot->delivered() || !slot->snapshot()) continue;
    auto newer = lb::catch_up(*slot->snapshot(), *found_, {drains_, departures_, verdicts_.down()});
    if (!newer) continue;
    spdlog::warn("source={} what was saved is older than what the kernel has, which stays in force",
                 slot->name());
    slot->amend_loaded(*std::move(newer));
  }
}

// What the kernel knows as drained by an operator stays so, whatever became of drains.json: lost, or not
// written before lbd ended.
void Engine::recover_drains(const Observed& observed, SysTime now) {
  auto orders = lost_drains(observed, view_, drains_, drains_.broken(), now);
  if (orders.empty()) return;
  std::string targets;
  for (const Drain& order : orders) targets += " " + to_string(order.target);
  spdlog::error("drained backends are known from the kernel alone, and stay drained:{}", targets);
  drains_.recover(std::move(orders));
}

}  // namespace lb
