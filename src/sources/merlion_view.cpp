#include "sources/merlion_view.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// Connects to all backends that began to fail within this were stopped by something in common.
constexpr auto kTogether = 10s;
// Snapshots stay guarded for this long after an absence that is no evidence, so that a change of
// something else, right after it, does not vouch for it. Several times `guard.confirm`.
constexpr auto kSuspicion = 60s;

bool is_usable(BackendState state) {
  return state == BackendState::Active || state == BackendState::Unknown;
}

}  // namespace

MerlionView::MerlionView(std::string prefix, ServicePtr saved, SysTime as_of)
    : prefix_(strip_trailing_slashes(prefix)), saved_as_of_(as_of), built_(std::move(saved)) {
  if (!built_) return;
  for (const Backend& backend : built_->backends)
    saved_states_[backend.id] = {backend.state, backend.reason};
}

std::string MerlionView::backend_range() const {
  return config_ ? config_->upstream_prefix + "/" : std::string();
}

std::string MerlionView::key_name(std::string_view name, std::string_view key) const {
  const std::string upstream = config_ ? config_->upstream_prefix : std::string();
  return fmt::format("{}/{}{}{}", upstream, printable(name), key.empty() ? "" : "/",
                     printable(key));
}

void MerlionView::lost(Moment now) {
  if (!std::exchange(in_sync_, false)) return;
  tick(now);
}

bool MerlionView::connect_failed(const ConnectFailure& failure, Moment now) {
  if (!built_) return false;
  for (const Backend& listed : built_->backends) {
    if (listed.address != failure.backend) continue;
    const auto it = backends_.find(listed.id);
    if (it == backends_.end()) return false;
    const bool refused = failure.error == ECONNREFUSED;
    const bool proven = failure.plain && refused && others_are_usable(it->first);
    // What is out already has nothing to lose.
    if (!failure.confirmed && !proven) return is_usable(it->second.state());
    // Merlion's words, and why.
    it->second.connect_failed(
        fmt::format("Cannot connect to {}/{}: {}", listed.host, failure.backend.to_string(),
                    std::generic_category().message(failure.error)),
        refused, now);
    if (!judge(it->second, now)) return false;
    dirty_ = true;
    compare(now);
    return false;
  }
  return false;
}

bool MerlionView::others_are_usable(const std::string& name) const {
  const std::set<std::string> unused = unused_names();
  return std::any_of(backends_.begin(), backends_.end(), [&](const auto& other) {
    return other.first != name && other.second.address() && is_usable(other.second.state()) &&
           !unused.contains(other.first);
  });
}

void MerlionView::set_unused(const Unused& backends, Moment now) {
  if (backends == unused_) return;
  unused_ = backends;
  compare(now);
}

// By what was built last, and for what has come since by the address itself.
std::set<std::string> MerlionView::unused_names() const {
  std::set<std::string> names;
  if (!built_ || unused_.empty()) return names;
  for (const Backend& listed : built_->backends)
    if (unused_.contains({built_->key, listed.address})) names.insert(listed.id);
  for (const auto& [name, backend] : backends_)
    if (backend.address())
      if (const auto ip = IpAddress::parse(backend.address()->host))
        if (unused_.contains({built_->key, {*ip, backend.address()->port}})) names.insert(name);
  return names;
}

void MerlionView::set_full(std::string why, Moment now) {
  if (full_ == why) return;
  const bool again = why.empty();
  full_ = std::move(why);
  dirty_ = true;
  // The next heartbeats may take as long as they usually do.
  if (again) give_grace(now);
  tick(now);
}

void MerlionView::confirm(SteadyTime asked, Moment now) {
  confirmed_ = asked;
  tick(now);
}

void MerlionView::suspect(Moment now) { suspect_until_ = now.steady + kSuspicion; }

void MerlionView::suspect_listing(Moment now) {
  suspect(now);
  listing_suspect_until_ = suspect_until_;
}

void MerlionView::reread_config() {
  dirty_ = true;
  auto parsed = parse_merlion_config(config_values_, prefix_);
  config_error_ = parsed ? "" : parsed.error().message();
  if (!parsed) return;
  if (!missing_values_.empty()) {
    auto values = config_values_;
    values.insert(missing_values_.begin(), missing_values_.end());
    if (auto whole = parse_merlion_config(values, prefix_)) parsed = std::move(whole);
  }
  // The backends of another prefix are fetched by the next range; until then the old ones stay.
  config_ = std::move(*parsed);
}

void MerlionView::replace_config(const std::vector<etcd::KeyValue>& kvs, bool trusted, Moment now) {
  std::map<std::string, std::string> values;
  for (const auto& kv : kvs)
    if (kv.key.starts_with(config_range()))
      values.emplace(kv.key.substr(config_range().size()), kv.value.substr(0, kMerlionMaxValue));
  if (!trusted || values.empty()) {
    suspect_listing(now);
    missing_values_.insert(config_values_.begin(), config_values_.end());
  }
  if (values == config_values_ && config_) return;
  config_values_ = std::move(values);
  for (const auto& [key, value] : config_values_) missing_values_.erase(key);
  reread_config();
}

void MerlionView::forget_missing(Moment now) {
  if (missing_values_.empty() || suspicious_listing(now)) return;
  missing_values_.clear();
  reread_config();
}

void MerlionView::replace_backends(const std::vector<etcd::KeyValue>& kvs, bool trusted,
                                   Moment now) {
  const Backends before = std::exchange(backends_, {});
  const std::string range = backend_range();
  for (const auto& kv : kvs) {
    if (!kv.key.starts_with(range)) continue;
    const std::string_view rest = std::string_view(kv.key).substr(range.size());
    const auto slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    const auto [it, fresh] = backends_.try_emplace(name, now);
    if (fresh) {
      if (const auto known = before.find(name); known != before.end())
        it->second.continue_from(known->second);
      else if (const auto saved = saved_states_.find(name); saved != saved_states_.end())
        it->second.continue_saved(saved->second, saved_as_of_, now);
    }
    it->second.set(slash == std::string_view::npos ? "" : rest.substr(slash + 1), kv.value, now,
                   false);
  }
  for (auto& [name, backend] : backends_) backend.end_listing(trusted);
  const bool had_some = !before.empty() || (built_ && !built_->backends.empty());
  if (!trusted || (backends_.empty() && had_some)) suspect_listing(now);
  saved_states_.clear();
  loaded_range_ = range;
  in_sync_ = true;
  dirty_ = true;
  settle_first_sight(now);
  give_grace(now);
  tick(now);
}

// How old a last-seen-at is, is told by the newest of all: its writers need not agree with this host
// about the time. Those that are ahead of this host's clock do not count, unless most of them are: then
// it is this host's clock that is behind.
void MerlionView::settle_first_sight(Moment now) {
  constexpr milliseconds kAhead = 60s;
  std::optional<SysTime> newest;
  std::optional<SysTime> newest_of_all;
  std::size_t count = 0;
  std::size_t ahead = 0;
  for (const auto& [name, backend] : backends_) {
    const auto& seen = backend.last_seen();
    if (!seen) continue;
    ++count;
    newest_of_all = std::max(newest_of_all.value_or(*seen), *seen);
    if (*seen - now.wall > kAhead)
      ++ahead;
    else
      newest = std::max(newest.value_or(*seen), *seen);
  }
  if (2 * ahead > count) newest = newest_of_all;
  if (!newest) return;
  for (auto& [name, backend] : backends_) backend.settle_first_sight(*newest, now);
}

// After every resynchronisation.
void MerlionView::give_grace(Moment now) {
  if (!config_) return;
  for (auto& [name, backend] : backends_) backend.give_grace(config_->freshness, now);
}

void MerlionView::apply(const etcd::Event& event, Moment now) {
  const std::string& key = event.kv.key;
  if (key.starts_with(config_range())) {
    const std::string name = key.substr(config_range().size());
    missing_values_.erase(name);
    if (event.is_delete)
      config_values_.erase(name);
    else
      config_values_[name] = event.kv.value.substr(0, kMerlionMaxValue);
    const auto before = config_;
    reread_config();
    if (before != config_) tick(now);  // another freshness counts at once
  }
  const std::string range = backend_range();
  if (!range.empty() && key.starts_with(range))
    apply_backend(event, std::string_view(key).substr(range.size()), now);
}

void MerlionView::apply_backend(const etcd::Event& event, std::string_view rest, Moment now) {
  const auto slash = rest.find('/');
  const std::string name(rest.substr(0, slash));
  const std::string_view key = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  const auto [it, fresh] = backends_.try_emplace(name, now);
  MerlionBackend& backend = it->second;
  bool changed = false;
  if (!event.is_delete) {
    changed = backend.set(key, event.kv.value, now);
  } else {
    // Without prev_kv nobody can say whether a lease ran out.
    const bool expired = !event.previous || event.previous->lease != 0;
    if (expired) suspect(now);
    changed = backend.erase(key, expired, now);
  }
  changed = judge(backend, now) || changed;
  // One sign of life: whatever kept all of them silent is over.
  if ((all_silent_ && !backend.is_expired()) || exits_differ_) compare(now);
  const bool gone = event.is_delete && backend.empty();
  dirty_ = dirty_ || fresh || gone || changed;
  if (gone) backends_.erase(it);
}

bool MerlionView::judge(MerlionBackend& backend, Moment now) {
  if (!config_) return false;
  const bool in_sync = in_sync_ && full_.empty();
  const bool was_exited = backend.is_exited();
  const auto verdict = backend.judge({config_->freshness, in_sync, confirmed_}, now);
  exits_differ_ = exits_differ_ || was_exited != backend.is_exited();
  next_look_ = std::min(next_look_, verdict.next_look);
  unconfirmed_ = unconfirmed_ || verdict.unconfirmed;
  return verdict.changed;
}

bool MerlionView::judge_all(Moment now) {
  next_look_ = missing_values_.empty() ? SteadyTime::max() : *listing_suspect_until_;
  unconfirmed_ = false;
  bool changed = false;
  for (auto& [name, backend] : backends_) changed = judge(backend, now) || changed;
  return changed;
}

void MerlionView::tick(Moment now) {
  forget_missing(now);
  dirty_ = judge_all(now) || dirty_;
  compare(now);
}

// Two or more, none heard of within freshness, and all of these silences began within one freshness.
// `since`: those that were heard of before that are silent on their own.
// One that gets no connections may have written a moment after the last that does, and expires a moment
// later: it speaks against that only if it was heard of lately.
bool MerlionView::are_all_silent(SteadyTime now, SteadyTime* since) const {
  SteadyTime newest = SteadyTime::min();
  const std::set<std::string> unused = unused_names();
  for (const auto& [name, backend] : backends_) {
    if (backend.disabled() || !backend.last_seen()) continue;
    // Not whether it is out for now: that depends on what is found here.
    const bool idle = backend.exit() || unused.contains(name);
    const bool late = backend.heard_at() && now - *backend.heard_at() > config_->freshness / 2;
    if (!backend.is_expired() && !(idle && late)) return false;
    if (backend.heard_at()) newest = std::max(newest, *backend.heard_at());
  }
  if (newest == SteadyTime::min() || config_->freshness <= 0s) return false;
  *since = newest - config_->freshness;
  return std::count_if(backends_.begin(), backends_.end(), [&](const auto& one) {
           const MerlionBackend& b = one.second;
           return !b.disabled() && b.heard_at() && *b.heard_at() >= *since;
         }) > 1;
}

// All that are heard of, within a few seconds. One alone only if it was no refusal, which proves that
// the way to its host is open. Who is drained cannot fail any more: it speaks against nothing, but may have
// failed with the others.
bool MerlionView::have_all_failed() const {
  std::vector<SteadyTime> failed, idle;
  bool refused = false;
  const std::set<std::string> unused = unused_names();
  for (const auto& [name, backend] : backends_) {
    const bool lost = backend.is_expired() && !backend.is_held();
    if (backend.disabled() || lost || !backend.last_seen() || !backend.address()) continue;
    const bool out = backend.is_exited() && backend.exit()->began;
    if (out) (unused.contains(name) ? idle : failed).push_back(*backend.exit()->began);
    if (unused.contains(name)) continue;
    if (!out) return false;
    refused = backend.exit()->refused;
  }
  if (failed.empty()) return false;
  const auto [first, last] = std::minmax_element(failed.begin(), failed.end());
  const bool alone =
      failed.size() == 1 && std::none_of(idle.begin(), idle.end(), [at = *first](SteadyTime other) {
        return std::max(at, other) - std::min(at, other) <= kTogether;
      });
  return *last - *first <= kTogether && !(alone && refused);
}

// What holds for all of them is no evidence against each.
void MerlionView::compare(Moment now) {
  if (!config_) return;
  // Who is held is tried again although a connect had failed, and is out again when it is held no more.
  constexpr int kRounds = 3;
  exits_differ_ = true;
  for (int round = 0; round < kRounds && exits_differ_; ++round) compare_once(now);
}

void MerlionView::compare_once(Moment now) {
  exits_differ_ = false;
  const bool was_silent = all_silent_;
  const bool had_failed = all_failed_;
  SteadyTime since{};
  const bool in_sync = in_sync_ && full_.empty();
  if (in_sync) all_silent_ = are_all_silent(now.steady, &since);
  // Who is held while all are silent may have failed with all others before.
  for (auto& [name, backend] : backends_)
    if (in_sync)
      backend.set_held(all_silent_ && backend.heard_at() && *backend.heard_at() >= since);
  all_failed_ = have_all_failed();
  if (!was_silent && !had_failed && !all_silent_ && !all_failed_) return;
  // Who was held while all were silent gets the time to be heard of again.
  if (was_silent && !all_silent_) give_grace(now);
  for (auto& [name, backend] : backends_)
    backend.set_last_resort(all_failed_ && backend.is_exited() &&
                            (!backend.is_expired() || backend.is_held()));
  dirty_ = judge_all(now) || dirty_ || was_silent != all_silent_ || had_failed != all_failed_;
}

std::set<std::string> MerlionView::names() const {
  std::set<std::string> out;
  if (config_) out.insert(config_->listen.host);
  for (const auto& [name, backend] : backends_)
    if (backend.address()) out.insert(backend.address()->host);
  std::erase_if(out, [](const std::string& host) { return IpAddress::parse(host).has_value(); });
  return out;
}

}  // namespace lb
