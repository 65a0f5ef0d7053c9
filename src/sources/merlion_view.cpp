#include "sources/merlion_view.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// Longer than any useful value: what is above is junk and is not kept in memory.
constexpr std::size_t kMaxValue = 4096;
// NTP slews at most 0.5 ms a second; a second in one look is a step.
constexpr milliseconds kClockStep = 2s;
// Snapshots stay guarded for this long after an absence that is no evidence, so that a change of
// something else, right after it, does not vouch for it. Several times `guard.confirm`.
constexpr auto kSuspicion = 60s;

}  // namespace

MerlionView::MerlionView(std::string prefix, ServicePtr saved)
    : prefix_(strip_trailing_slashes(prefix)), built_(std::move(saved)) {
  if (!built_) return;
  for (const Backend& backend : built_->backends)
    if (backend.state == BackendState::Active) saved_active_.insert(backend.id);
}

std::string MerlionView::backend_range() const {
  return config_ ? config_->upstream_prefix + "/" : std::string();
}

std::string MerlionView::key_name(std::string_view name, std::string_view key) const {
  const std::string upstream = config_ ? config_->upstream_prefix : std::string();
  return fmt::format("{}/{}{}{}", upstream, printable(name), key.empty() ? "" : "/", key);
}

void MerlionView::lost(Moment) { in_sync_ = false; }

void MerlionView::suspect(Moment now) { suspect_until_ = now.steady + kSuspicion; }

void MerlionView::reread_config() {
  dirty_ = true;
  auto parsed = parse_merlion_config(config_values_, prefix_);
  config_error_ = parsed ? "" : parsed.error().message();
  if (!parsed) return;
  // The backends of another prefix are fetched by the next range; until then the old ones stay.
  config_ = std::move(*parsed);
}

void MerlionView::replace_config(const std::vector<etcd::KeyValue>& kvs, bool trusted, Moment now) {
  std::map<std::string, std::string> values;
  for (const auto& kv : kvs)
    if (kv.key.starts_with(config_range()))
      values.emplace(kv.key.substr(config_range().size()), kv.value.substr(0, kMaxValue));
  if (!trusted || values.empty()) suspect(now);
  if (values == config_values_ && config_) return;
  config_values_ = std::move(values);
  reread_config();
}

void MerlionView::replace_backends(const std::vector<etcd::KeyValue>& kvs, bool trusted,
                                   Moment now) {
  note_clock(now);
  Entries old = std::exchange(entries_, {});
  const std::string range = backend_range();
  for (const auto& kv : kvs) {
    if (!kv.key.starts_with(range)) continue;
    const std::string_view rest = std::string_view(kv.key).substr(range.size());
    const auto slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    const auto [it, fresh] = entries_.try_emplace(name);
    Entry& entry = it->second;
    const auto before = old.find(name);
    if (fresh && before != old.end()) {
      entry.state = before->second.state;
      entry.reason = before->second.reason;
    } else if (fresh && saved_active_.contains(name)) {
      entry.state = BackendState::Active;
    }
    const std::string_view key = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
    set_value(entry, name, key, kv.value);
    // A bad value does not displace a good one: take over what was good before.
    if (before == old.end() || !entry.errors.contains(std::string(key))) continue;
    if (key == "listen-address") entry.address = before->second.address;
    if (key == "last-seen-at") entry.last_seen = before->second.last_seen;
  }
  const bool had_some = !old.empty() || (built_ && !built_->backends.empty());
  if (!trusted || (entries_.empty() && had_some)) suspect(now);
  saved_active_.clear();
  loaded_range_ = range;
  in_sync_ = true;
  dirty_ = true;
  give_grace(now);
  tick(now);
}

// What was in use keeps its place for one full freshness, whatever its last-seen-at says: its
// publisher may not have been able to write, or we to read.
void MerlionView::give_grace(Moment now) {
  if (!config_) return;
  for (auto& [name, entry] : entries_)
    if (entry.state == BackendState::Active && config_->freshness > 0s)
      entry.grace_until = now.steady + config_->freshness;
}

void MerlionView::note_clock(Moment now) {
  const auto offset = std::chrono::duration_cast<milliseconds>(now.wall.time_since_epoch() -
                                                               now.steady.time_since_epoch());
  const auto before = std::exchange(clock_offset_, offset);
  if (before && std::chrono::abs(offset - *before) >= kClockStep) give_grace(now);
}

void MerlionView::set_value(Entry& entry, std::string_view name, std::string_view key,
                            const std::string& value) {
  const std::string id(key);
  entry.errors.erase(id);
  const auto refuse = [&](const std::string& why) {
    entry.errors[id] = fmt::format("etcd key {}: {}", key_name(name, key), why);
  };
  if (key.empty()) {
    entry.plain_value = true;
    refuse("is a value where keys like listen-address should be below it; ignored");
  } else if (key == "listen-address") {
    auto address = parse_merlion_address(std::string_view(value).substr(0, kMaxValue));
    if (address)
      entry.address = std::move(*address);
    else
      refuse(address.error().message());
  } else if (key == "last-seen-at") {
    auto time = parse_last_seen_at(value);
    entry.has_last_seen_key = true;
    if (time)
      entry.last_seen = *time;
    else
      refuse(time.error().message());
  } else if (key == "disabled") {
    entry.disabled = parse_disabled(std::string_view(value).substr(0, kMaxValue));
  }
}

void MerlionView::apply(const etcd::Event& event, Moment now) {
  note_clock(now);
  const std::string& key = event.kv.key;
  if (key.starts_with(config_range())) {
    const std::string name = key.substr(config_range().size());
    if (event.is_delete)
      config_values_.erase(name);
    else
      config_values_[name] = event.kv.value.substr(0, kMaxValue);
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
  const auto [it, fresh] = entries_.try_emplace(name);
  Entry& entry = it->second;
  const auto address = entry.address;
  const auto errors = entry.errors;
  if (!event.is_delete) {
    set_value(entry, name, key, event.kv.value);
  } else {
    // Without prev_kv nobody can say whether a lease ran out.
    const bool expired = !event.previous || event.previous->lease != 0;
    if (expired) suspect(now);
    entry.errors.erase(std::string(key));
    if (key.empty()) entry.plain_value = false;
    if (key == "listen-address") entry.address.reset();
    // A lease that ran out says that nobody wrote, not that the backend was never seen: the time of
    // the last sign of life stays and expires by freshness.
    if (key == "last-seen-at") entry.has_last_seen_key = false;
    if (key == "last-seen-at" && !expired) entry.last_seen.reset();
    if (key == "disabled") entry.disabled = false;
  }
  const bool changed = judge(entry, now);
  const bool nothing_left = !entry.address && !entry.disabled && !entry.plain_value &&
                            !entry.has_last_seen_key && entry.errors.empty();
  const bool gone = event.is_delete && nothing_left;
  dirty_ = dirty_ || fresh || gone || changed || entry.address != address || entry.errors != errors;
  if (gone) entries_.erase(it);
}

bool MerlionView::judge(Entry& entry, Moment now) {
  const auto before = std::pair(entry.state, entry.reason);
  const auto set = [&entry](BackendState state, Reason reason) {
    entry.state = state;
    entry.reason = reason;
  };
  if (!config_) return false;
  if (entry.disabled) {
    set(BackendState::Disabled, Reason::Disabled);
  } else if (!entry.last_seen) {
    set(BackendState::Stale, Reason::NeverSeen);
  } else {
    const milliseconds freshness = config_->freshness;
    // Merlion's rule is strict: at exactly `freshness` the backend is still there.
    const milliseconds left = *entry.last_seen + freshness + 1ms - now.wall;
    const bool graced = entry.grace_until && now.steady < *entry.grace_until;
    const bool was_active = entry.state == BackendState::Active;
    const bool active = left > 0ms || graced || (!in_sync_ && was_active);
    if (active)
      set(BackendState::Active, Reason::None);
    else
      set(BackendState::Stale, Reason::NotSeen);
    if (active && in_sync_)
      next_look_ = std::min(
          next_look_, std::max(now.steady + left, entry.grace_until.value_or(now.steady + left)));
  }
  // Grace belongs to what was in use without a break.
  if (entry.state != BackendState::Active) entry.grace_until.reset();
  return before != std::pair(entry.state, entry.reason);
}

void MerlionView::tick(Moment now) {
  note_clock(now);
  next_look_ = SteadyTime::max();
  if (!in_sync_) return;
  for (auto& [name, entry] : entries_)
    if (judge(entry, now)) dirty_ = true;
}

std::set<std::string> MerlionView::names() const {
  std::set<std::string> out;
  if (config_) out.insert(config_->listen.host);
  for (const auto& [name, entry] : entries_)
    if (entry.address) out.insert(entry.address->host);
  std::erase_if(out, [](const std::string& host) { return IpAddress::parse(host).has_value(); });
  return out;
}

}  // namespace lb
