#include "sources/merlion_backend.h"

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include "sources/merlion_schema.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// A last-seen-at that is further ahead than this is worth a warning: somebody's clock is wrong.
constexpr milliseconds kAhead = 60s;
// A backend comes and goes by several writes; half of one is worth a warning only when it stays so.
constexpr auto kHalfWritten = 2s;
// While etcd is away nobody can tell that a backend is back, and all of them may be restarted in turn.
constexpr auto kBlindRetry = 30s;

}  // namespace

bool tells_of_backend(const ConnectFailure& failure) {
  switch (failure.kind) {
    case ConnectFailure::Kind::Refused:
    case ConnectFailure::Kind::TimedOut:
      return true;
    case ConnectFailure::Kind::Other:
      return failure.error == EHOSTUNREACH || failure.error == ENETUNREACH ||
             failure.error == EHOSTDOWN;
    case ConnectFailure::Kind::GaveUp:
    case ConnectFailure::Kind::SynRetransmitted:
      return false;
  }
  return false;
}

bool MerlionBackend::note_error(std::string_view key, std::string error) {
  const auto it = errors_.find(key);
  if (it == errors_.end()) {
    if (error.empty()) return false;
    errors_.emplace(key, std::move(error));
    return true;
  }
  if (it->second == error) return false;
  if (error.empty())
    errors_.erase(it);
  else
    it->second = std::move(error);
  return true;
}

bool MerlionBackend::set(std::string_view key, const std::string& value) {
  if (key.empty()) {
    plain_value_ = true;
    return note_error(key, "is a value where keys like listen-address should be below it; ignored");
  }
  if (key == "listen-address") {
    address_inherited_ = false;
    auto address = parse_merlion_address(std::string_view(value).substr(0, kMerlionMaxValue));
    if (!address) return note_error(key, address.error().message());
    const bool moved = address_ != *address;
    address_ = std::move(*address);
    return note_error(key, "") || moved;
  }
  if (key == "last-seen-at") {
    has_last_seen_key_ = true;
    last_seen_inherited_ = false;
    const auto time = parse_last_seen_at(value);
    if (!time) return note_error(key, time.error().message());
    set_last_seen(*time);
    return note_error(key, "");
  }
  if (key == "disabled")
    disabled_ = parse_disabled(std::string_view(value).substr(0, kMerlionMaxValue));
  return false;
}

// The publisher's clock may be behind ours, so that its next words still look older than the failure:
// the second of them is believed. The first may have been under way when the connect failed.
void MerlionBackend::set_last_seen(SysTime time) {
  const bool newer = !last_seen_ || time > *last_seen_;
  last_seen_ = time;
  if (!exit_ || !newer || (exit_->seen && time <= *exit_->seen)) return;
  ++exit_->newer;
  if (time >= exit_->at || exit_->newer > 1) exit_.reset();
}

bool MerlionBackend::erase(std::string_view key, bool expired, Moment now) {
  bool changed = note_error(key, "");
  if (key.empty()) plain_value_ = false;
  if (key == "listen-address") {
    changed = changed || address_.has_value();
    address_.reset();
    incomplete_since_ = now.steady;
  }
  if (key == "last-seen-at") has_last_seen_key_ = false;
  if (key == "last-seen-at" && !expired) last_seen_.reset();
  if (key == "disabled") disabled_ = false;
  return changed;
}

bool MerlionBackend::empty() const {
  return !address_ && !disabled_ && !plain_value_ && !has_last_seen_key_ && errors_.empty();
}

void MerlionBackend::connect_failed(std::string reason, Moment now) {
  exit_ = Exit{now.wall, std::move(reason), last_seen_, 0, now.steady + kBlindRetry};
}

void MerlionBackend::give_grace(milliseconds freshness, Moment now) {
  if (state_ == BackendState::Active && freshness > 0ms) grace_until_ = now.steady + freshness;
}

bool MerlionBackend::is_exited(const Rules& rules, Moment now) const {
  return exit_ && (rules.in_sync || now.steady < exit_->retry_at);
}

MerlionBackend::Judgement MerlionBackend::judge(const Rules& rules, Moment now) {
  const auto shown = [this] {
    return std::tuple(state_, reason_, unavailable_, ahead_, incomplete_);
  };
  const auto before = shown();
  Judgement out;
  const auto look_at = [&](SteadyTime at) {
    if (at > now.steady) out.next_look = std::min(out.next_look, at);
  };
  const auto set = [this](BackendState state, Reason reason) {
    state_ = state;
    reason_ = reason;
  };
  incomplete_ = !address_ && !plain_value_ && !errors_.contains("listen-address") &&
                now.steady >= incomplete_since_ + kHalfWritten;
  if (!address_) look_at(incomplete_since_ + kHalfWritten);
  ahead_ = last_seen_ && *last_seen_ - now.wall > kAhead;
  if (ahead_) look_at(now.steady + (*last_seen_ - now.wall - kAhead));
  if (!last_seen_) {
    set(BackendState::Stale, Reason::NeverSeen);
  } else if (is_exited(rules, now)) {
    set(BackendState::Exited, Reason::ConnectFailed);
    if (!rules.in_sync) look_at(exit_->retry_at);
  } else {
    // Merlion's rule is strict: at exactly `freshness` the backend is still there.
    const milliseconds left = *last_seen_ + rules.freshness + 1ms - now.wall;
    const bool graced = grace_until_ && now.steady < *grace_until_;
    // Out of sync everything stays as it is; what was tried again after an exit is in use again.
    const bool stays = !rules.in_sync && state_ != BackendState::Stale;
    const bool active = left > 0ms || graced || stays;
    set(active ? BackendState::Active : BackendState::Stale,
        active ? Reason::None : Reason::NotSeen);
    if (active && rules.in_sync)
      look_at(std::max(now.steady + left, grace_until_.value_or(now.steady + left)));
  }
  unavailable_ = state_ != BackendState::Active;
  if (disabled_) set(BackendState::Disabled, Reason::Disabled);
  // Grace belongs to what was in use without a break.
  if (state_ != BackendState::Active) grace_until_.reset();
  out.changed = before != shown();
  return out;
}

void MerlionBackend::continue_from(const MerlionBackend& before) {
  state_ = before.state_;
  reason_ = before.reason_;
  exit_ = before.exit_;
  incomplete_since_ = before.incomplete_since_;
  // Last good values, in case that what is there now is bad.
  address_ = before.address_;
  last_seen_ = before.last_seen_;
  address_inherited_ = last_seen_inherited_ = true;
}

void MerlionBackend::end_listing() {
  if (std::exchange(address_inherited_, false)) address_.reset();
  if (std::exchange(last_seen_inherited_, false)) last_seen_.reset();
}

void MerlionBackend::continue_saved(BackendState state, SysTime as_of) {
  if (state == BackendState::Active) state_ = state;
  if (state == BackendState::Exited) exit_ = Exit{as_of, "Cannot connect", std::nullopt, 0, {}};
}

}  // namespace lb
