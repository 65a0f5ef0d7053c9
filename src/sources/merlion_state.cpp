#include "sources/merlion_state.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace lb {
namespace {

using namespace std::chrono_literals;

// A heartbeat every few seconds for each backend is what Merlion's users write. Whoever reads it here
// asks whether the backend is alive, which `unavailable` answers at once.
constexpr auto kSeenEvery = 30s;
constexpr auto kConnectionsEvery = 10s;
// Who waits for a drain waits for the 0. Also bounds what connections that come and go at once cost.
constexpr auto kDrainingEvery = 1s;

constexpr std::array<std::string_view, 7> kKeys{
    "active-connections", "disabled",    "exit-reason", "exited-at",
    "last-seen-at",       "unavailable", "weight"};

std::string millis(SysTime time) { return std::to_string(time.time_since_epoch().count()); }

// All that is shown at once.
auto urgent(const MerlionBackendState& s) {
  return std::tie(s.unavailable, s.disabled, s.exited_at, s.exit_reason, s.weight);
}

MerlionPacing::SteadyTime after(MerlionPacing::SteadyTime time, std::chrono::seconds pause) {
  return time + pause;
}

}  // namespace

MerlionStateKeys merlion_state_keys(const MerlionBackendState& state) {
  MerlionStateKeys out;
  out["last-seen-at"] = state.last_seen ? millis(*state.last_seen) : "0";
  out["unavailable"] = state.unavailable ? "true" : "false";
  out["weight"] = std::to_string(state.weight);
  if (state.disabled) out["disabled"] = "true";
  if (state.exited_at) out["exited-at"] = millis(*state.exited_at);
  if (!state.exit_reason.empty()) out["exit-reason"] = state.exit_reason;
  if (state.active_connections)
    out["active-connections"] = std::to_string(*state.active_connections);
  return out;
}

bool is_key_segment(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

std::vector<std::string> MerlionPacing::look(const MerlionState& state, SteadyTime now) {
  std::vector<std::string> changed;
  due_ = SteadyTime::max();
  auto old = paced_.begin();
  for (const auto& [name, wanted] : state) {
    while (old != paced_.end() && old->first < name) {
      changed.push_back(old->first);
      old = paced_.erase(old);
    }
    if (old == paced_.end() || old->first != name) {
      changed.push_back(name);
      old = std::next(paced_.emplace_hint(old, name, Paced{wanted, now, now}));
      continue;
    }
    if (pace(old->second, wanted, now)) changed.push_back(name);
    ++old;
  }
  for (; old != paced_.end(); old = paced_.erase(old)) changed.push_back(old->first);
  return changed;
}

// True when it is shown differently now.
bool MerlionPacing::pace(Paced& paced, const MerlionBackendState& state, SteadyTime now) {
  MerlionBackendState& shown = paced.state;
  if (shown == state) return false;
  if (urgent(shown) != urgent(state) ||
      shown.last_seen.has_value() != state.last_seen.has_value()) {
    paced = {state, now, now};
    return true;
  }
  bool changed = false;
  if (shown.last_seen != state.last_seen && pass(after(paced.seen_at, kSeenEvery), now)) {
    shown.last_seen = state.last_seen;
    paced.seen_at = now;
    changed = true;
  }
  const auto idle = [](const MerlionBackendState& s) { return s.active_connections == 0U; };
  const bool soon = state.weight == 0 || idle(shown) != idle(state) ||
                    shown.active_connections.has_value() != state.active_connections.has_value();
  if (shown.active_connections != state.active_connections &&
      pass(after(paced.connections_at, soon ? kDrainingEvery : kConnectionsEvery), now)) {
    shown.active_connections = state.active_connections;
    paced.connections_at = now;
    changed = true;
  }
  return changed;
}

bool MerlionPacing::pass(SteadyTime allowed, SteadyTime now) {
  if (now >= allowed) return true;
  due_ = std::min(due_, allowed);
  return false;
}

const MerlionBackendState* MerlionPacing::shown(const std::string& name) const {
  const auto it = paced_.find(name);
  return it == paced_.end() ? nullptr : &it->second.state;
}

std::vector<std::string> MerlionPacing::names() const {
  std::vector<std::string> out;
  for (const auto& [name, paced] : paced_) out.push_back(name);
  return out;
}

std::string MerlionFolder::path(const MerlionWrite& write) const {
  return root_ + write.name + "/" + write.key;
}

std::vector<MerlionWrite> MerlionFolder::difference(const std::string& name, const Written& written,
                                                    const MerlionBackendState* state) {
  std::vector<MerlionWrite> out;
  if (state == nullptr) {
    if (!written.empty()) out.push_back({MerlionWrite::Kind::RemoveAll, name, "", ""});
    return out;
  }
  const MerlionStateKeys wanted = merlion_state_keys(*state);
  for (const auto& [key, value] : wanted) {
    const auto it = written.find(key);
    if (it == written.end() || it->second != value)
      out.push_back({MerlionWrite::Kind::Put, name, key, value});
  }
  for (const auto& [key, value] : written)
    if (!wanted.contains(key)) out.push_back({MerlionWrite::Kind::Remove, name, key, ""});
  return out;
}

std::vector<MerlionWrite> MerlionFolder::take_writes(const MerlionPacing& pacing,
                                                     std::size_t enough) {
  static const Written kNothing;
  std::vector<MerlionWrite> out;
  for (const bool known : {true, false})
    for (auto it = touched_.begin(); it != touched_.end() && out.size() < enough;) {
      const auto written = written_.find(*it);
      if ((written != written_.end()) != known) {
        ++it;
        continue;
      }
      auto writes = difference(*it, known ? written->second : kNothing, pacing.shown(*it));
      std::move(writes.begin(), writes.end(), std::back_inserter(out));
      it = touched_.erase(it);
    }
  return out;
}

void MerlionFolder::begin(const MerlionWrite& write) {
  if (write.kind != MerlionWrite::Kind::RemoveAll) written_[write.name][write.key] = std::nullopt;
}

void MerlionFolder::done(const MerlionWrite& write) {
  const auto it = written_.find(write.name);
  if (it == written_.end()) return;
  if (write.kind == MerlionWrite::Kind::Put) it->second[write.key] = write.value;
  if (write.kind == MerlionWrite::Kind::Remove) it->second.erase(write.key);
  if (write.kind == MerlionWrite::Kind::RemoveAll || it->second.empty()) written_.erase(it);
}

void MerlionFolder::found(const std::vector<etcd::KeyValue>& kvs, std::int64_t lease,
                          const MerlionPacing& pacing) {
  const auto before = std::exchange(written_, {});
  for (const auto& [name, keys] : before) touch(name);
  for (const std::string& name : pacing.names()) touch(name);
  for (const etcd::KeyValue& kv : kvs) {
    if (!kv.key.starts_with(root_)) continue;
    const std::string rest = kv.key.substr(root_.size());
    const auto slash = rest.find('/');
    if (slash == std::string::npos) continue;
    const std::string name = rest.substr(0, slash);
    const std::string key = rest.substr(slash + 1);
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) continue;
    const auto old = before.find(name);
    if (old == before.end() && pacing.shown(name) == nullptr) continue;
    const bool ours = kv.lease == lease && old != before.end() && old->second.contains(key) &&
                      old->second.at(key).has_value();
    written_[name][key] = ours ? std::optional(kv.value) : std::nullopt;
  }
}

std::vector<std::string> MerlionFolder::keys() const {
  std::vector<std::string> out;
  for (const auto& [name, keys] : written_)
    for (const auto& [key, value] : keys)
      if (value) out.push_back(root_ + name + "/" + key);
  return out;
}

std::vector<std::string> MerlionFolder::names() const {
  std::vector<std::string> out;
  for (const auto& [name, keys] : written_) out.push_back(name);
  return out;
}

}  // namespace lb
