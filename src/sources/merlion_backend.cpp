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

// A last-seen-at that is further off than this is worth a warning: one of the clocks is wrong.
constexpr milliseconds kClockSkew = 60s;
// A backend comes and goes by several writes; half of one is worth a warning only when it stays so.
constexpr auto kHalfWritten = 2s;
// A written time may be centuries ahead, which the clock of looks cannot hold.
constexpr milliseconds kFurthestLook = 24h;
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
    case ConnectFailure::Kind::Ejected:
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

bool MerlionBackend::set(std::string_view key, const std::string& value, Moment now, bool live) {
  if (key.empty()) {
    plain_value_ = true;
    return note_error(key, "is a value where keys like listen-address should be below it; ignored");
  }
  if (key == "listen-address") {
    address_inherited_ = false;
    auto address = parse_merlion_backend(std::string_view(value).substr(0, kMerlionMaxValue));
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
    set_last_seen(*time, now, live);
    return note_error(key, "");
  }
  if (key == "disabled") {
    disabled_ = parse_disabled(std::string_view(value).substr(0, kMerlionMaxValue));
    return false;
  }
  return note_error(key, misspelt_backend_key(key));
}

// The publisher's clock may be behind ours, so that its next words still look older than the failure:
// the second of them is believed. The first may have been under way when the connect failed.
void MerlionBackend::set_last_seen(SysTime time, Moment now, bool live) {
  const bool first = !last_seen_;
  if (!first && time == *last_seen_) return;
  last_seen_ = time;
  heard_at_ = now.steady;
  first_sight_ = first && !live;  // what is written under our eyes is a sign of life
  if (std::exchange(was_stale_, false) && first) {
    heard_at_.reset();
    first_sight_ = false;
  }
  behind_ = live && now.wall - time > kClockSkew;
  if (!exit_ || (exit_->seen && time == *exit_->seen)) return;
  ++exit_->newer;
  if (time >= exit_->at || exit_->newer > 1) exit_.reset();
}

void MerlionBackend::settle_first_sight(SysTime reference, Moment now) {
  if (!std::exchange(first_sight_, false) || !last_seen_ || *last_seen_ >= reference) return;
  // Bounded, since a written time may be centuries ago.
  constexpr milliseconds kLongest = std::chrono::hours(24 * 365 * 20);
  heard_at_ = now.steady - std::min<milliseconds>(reference - *last_seen_, kLongest);
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
  if (key == "last-seen-at" && !expired) {
    last_seen_.reset();
    heard_at_.reset();
    behind_ = false;
  }
  if (key == "disabled") disabled_ = false;
  return changed;
}

bool MerlionBackend::empty() const {
  return !address_ && !disabled_ && !plain_value_ && !has_last_seen_key_ && errors_.empty();
}

void MerlionBackend::connect_failed(std::string reason, bool refused, Moment now) {
  const auto began = exit_ ? exit_->began : now.steady;
  exit_ =
      Exit{now.wall, std::move(reason), last_seen_, 0, now.steady + kBlindRetry, began, refused};
}

void MerlionBackend::give_grace(milliseconds freshness, Moment now) {
  const bool used = state_ == BackendState::Active || state_ == BackendState::Unknown;
  if (used && freshness > 0ms) grace_until_ = now.steady + freshness;
}

// Merlion's rule is strict: at exactly `freshness` the backend is still there. A freshness of 0 and
// below is always over.
std::optional<MerlionBackend::SteadyTime> MerlionBackend::expiry(const Rules& rules) const {
  if (!last_seen_ || !heard_at_ || rules.freshness <= 0ms) return grace_until_;
  const SteadyTime end = *heard_at_ + rules.freshness + 1ms;
  return std::max(end, grace_until_.value_or(end));
}

void MerlionBackend::set_state(BackendState state, Reason reason) {
  state_ = state;
  reason_ = reason;
}

void MerlionBackend::judge_values(Moment now, Judgement& out) {
  incomplete_ = !address_ && !plain_value_ && !errors_.contains("listen-address") &&
                now.steady >= incomplete_since_ + kHalfWritten;
  if (!address_) out.look_at(incomplete_since_ + kHalfWritten, now);
  ahead_ = last_seen_ && *last_seen_ - now.wall > kClockSkew;
  if (ahead_)
    out.look_at(
        now.steady + std::min<milliseconds>(*last_seen_ - now.wall - kClockSkew, kFurthestLook),
        now);
}

void MerlionBackend::judge_times(const Rules& rules, Moment now, Judgement& out) {
  const auto end = expiry(rules);
  const bool due = !end || now.steady >= *end;
  // Out of sync everything stays as it is, and so it does until etcd had its say after the expiry.
  out.unconfirmed = rules.in_sync && due && !expired_ && end && rules.confirmed < *end;
  const bool may_expire = rules.in_sync || expired_ || state_ == BackendState::Stale;
  expired_ = due && !out.unconfirmed && may_expire;
  if (!due && rules.in_sync) out.look_at(*end, now);
  // While no sign of life can be heard it is tried again.
  const bool deaf = !rules.in_sync || held_;
  exited_ = exit_ && (!deaf || now.steady < exit_->retry_at);
  if (exited_ && deaf) out.look_at(exit_->retry_at, now);
}

void MerlionBackend::judge_state() {
  if (!last_seen_)
    set_state(BackendState::Stale, Reason::NeverSeen);
  else if (exited_)
    set_state(BackendState::Exited, last_resort_ ? Reason::Unreachable : Reason::ConnectFailed);
  else if (expired_)
    set_state(held_ ? BackendState::Unknown : BackendState::Stale, Reason::NotSeen);
  else
    set_state(BackendState::Active, Reason::None);
  unavailable_ = state_ != BackendState::Active;
  if (disabled_) set_state(BackendState::Disabled, Reason::Disabled);
}

MerlionBackend::Judgement MerlionBackend::judge(const Rules& rules, Moment now) {
  const auto shown = [this] {
    return std::tuple(state_, reason_, unavailable_, ahead_, behind_, incomplete_);
  };
  const auto before = shown();
  Judgement out;
  judge_values(now, out);
  judge_times(rules, now, out);
  judge_state();
  // Grace belongs to what was in use without a break.
  if (state_ != BackendState::Active && state_ != BackendState::Unknown) grace_until_.reset();
  out.changed = before != shown();
  return out;
}

void MerlionBackend::continue_from(const MerlionBackend& before) {
  state_ = before.state_;
  reason_ = before.reason_;
  exit_ = before.exit_;
  heard_at_ = before.heard_at_;
  expired_ = before.expired_;
  held_ = before.held_;
  last_resort_ = before.last_resort_;
  behind_ = before.behind_;
  incomplete_since_ = before.incomplete_since_;
  // Last good values, in case that what is there now is bad.
  address_ = before.address_;
  last_seen_ = before.last_seen_;
  address_inherited_ = last_seen_inherited_ = true;
}

void MerlionBackend::end_listing(bool trusted) {
  if (std::exchange(address_inherited_, false)) address_.reset();
  if (!std::exchange(last_seen_inherited_, false) || !trusted) return;
  last_seen_.reset();
  heard_at_.reset();
}

void MerlionBackend::continue_saved(const Saved& saved, SysTime as_of, Moment now) {
  // One that had never been seen may have been seen since.
  was_stale_ = saved.state == BackendState::Stale && saved.reason != Reason::NeverSeen;
  if (saved.state == BackendState::Active || saved.state == BackendState::Unknown)
    state_ = BackendState::Active;
  if (saved.state != BackendState::Exited) return;
  const bool all = saved.reason == Reason::Unreachable;
  exit_ = Exit{as_of, "Cannot connect", std::nullopt, 0, {}, {}, !all};
  if (all) exit_->began = now.steady;
}

}  // namespace lb
