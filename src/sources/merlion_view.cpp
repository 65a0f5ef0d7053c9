#include "sources/merlion_view.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// NTP slews at most 0.5 ms a second; a second in one look is a step.
constexpr milliseconds kClockStep = 2s;
// Snapshots stay guarded for this long after an absence that is no evidence, so that a change of
// something else, right after it, does not vouch for it. Several times `guard.confirm`.
constexpr auto kSuspicion = 60s;

}  // namespace

MerlionView::MerlionView(std::string prefix, ServicePtr saved, SysTime as_of)
    : prefix_(strip_trailing_slashes(prefix)), saved_as_of_(as_of), built_(std::move(saved)) {
  if (!built_) return;
  for (const Backend& backend : built_->backends) saved_states_[backend.id] = backend.state;
}

std::string MerlionView::backend_range() const {
  return config_ ? config_->upstream_prefix + "/" : std::string();
}

std::string MerlionView::key_name(std::string_view name, std::string_view key) const {
  const std::string upstream = config_ ? config_->upstream_prefix : std::string();
  return fmt::format("{}/{}{}{}", upstream, printable(name), key.empty() ? "" : "/", key);
}

void MerlionView::lost(Moment now) {
  if (!std::exchange(in_sync_, false)) return;
  tick(now);
}

void MerlionView::connect_failed(const Address& address, int error, Moment now) {
  if (!built_) return;
  for (const Backend& listed : built_->backends) {
    if (listed.address != address) continue;
    const auto it = backends_.find(listed.id);
    if (it == backends_.end()) return;
    // Merlion's words, and why.
    it->second.connect_failed(
        fmt::format("Cannot connect to {}/{}: {}", listed.host, address.to_string(),
                    std::generic_category().message(error)),
        now);
    dirty_ = judge(it->second, now) || dirty_;
    return;
  }
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
  // The backends of another prefix are fetched by the next range; until then the old ones stay.
  config_ = std::move(*parsed);
}

void MerlionView::replace_config(const std::vector<etcd::KeyValue>& kvs, bool trusted, Moment now) {
  std::map<std::string, std::string> values;
  for (const auto& kv : kvs)
    if (kv.key.starts_with(config_range()))
      values.emplace(kv.key.substr(config_range().size()), kv.value.substr(0, kMerlionMaxValue));
  if (!trusted || values.empty()) suspect_listing(now);
  if (values == config_values_ && config_) return;
  config_values_ = std::move(values);
  reread_config();
}

void MerlionView::replace_backends(const std::vector<etcd::KeyValue>& kvs, bool trusted,
                                   Moment now) {
  note_clock(now);
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
        it->second.continue_saved(saved->second, saved_as_of_);
    }
    it->second.set(slash == std::string_view::npos ? "" : rest.substr(slash + 1), kv.value);
  }
  for (auto& [name, backend] : backends_) backend.end_listing();
  const bool had_some = !before.empty() || (built_ && !built_->backends.empty());
  if (!trusted || (backends_.empty() && had_some)) suspect_listing(now);
  saved_states_.clear();
  loaded_range_ = range;
  in_sync_ = true;
  dirty_ = true;
  give_grace(now);
  tick(now);
}

// After every resynchronisation and step of the clock.
void MerlionView::give_grace(Moment now) {
  if (!config_) return;
  for (auto& [name, backend] : backends_) backend.give_grace(config_->freshness, now);
}

void MerlionView::note_clock(Moment now) {
  const auto offset = std::chrono::duration_cast<milliseconds>(now.wall.time_since_epoch() -
                                                               now.steady.time_since_epoch());
  const auto before = std::exchange(clock_offset_, offset);
  if (before && std::chrono::abs(offset - *before) >= kClockStep) give_grace(now);
}

void MerlionView::apply(const etcd::Event& event, Moment now) {
  note_clock(now);
  const std::string& key = event.kv.key;
  if (key.starts_with(config_range())) {
    const std::string name = key.substr(config_range().size());
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
    changed = backend.set(key, event.kv.value);
  } else {
    // Without prev_kv nobody can say whether a lease ran out.
    const bool expired = !event.previous || event.previous->lease != 0;
    if (expired) suspect(now);
    changed = backend.erase(key, expired, now);
  }
  changed = judge(backend, now) || changed;
  const bool gone = event.is_delete && backend.empty();
  dirty_ = dirty_ || fresh || gone || changed;
  if (gone) backends_.erase(it);
}

bool MerlionView::judge(MerlionBackend& backend, Moment now) {
  if (!config_) return false;
  const auto verdict = backend.judge({config_->freshness, in_sync_}, now);
  next_look_ = std::min(next_look_, verdict.next_look);
  return verdict.changed;
}

void MerlionView::tick(Moment now) {
  note_clock(now);
  next_look_ = SteadyTime::max();
  for (auto& [name, backend] : backends_)
    if (judge(backend, now)) dirty_ = true;
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
