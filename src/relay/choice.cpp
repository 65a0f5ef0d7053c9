#include "relay/choice.h"

#include <algorithm>
#include <utility>

namespace lb::relay {
namespace {

const SourceMark* find_mark(const std::vector<SourceMark>& marks, const std::string& name) {
  const auto it = std::find_if(marks.begin(), marks.end(),
                               [&](const SourceMark& mark) { return mark.name == name; });
  return it == marks.end() ? nullptr : &*it;
}

// A ping tells when the source that was read longest ago was read: every other one was read since.
SysTime read_at_of(const SourceMark& mark, const std::optional<SysTime>& pinged) {
  return pinged ? std::max(mark.read_at, *pinged) : mark.read_at;
}

// nullopt: without sources, it is as old as its pings say.
std::optional<SysTime> oldest(const std::vector<SourceMark>& marks,
                              const std::optional<SysTime>& pinged) {
  std::optional<SysTime> out;
  for (const SourceMark& mark : marks) {
    const SysTime read_at = read_at_of(mark, pinged);
    out = out ? std::min(*out, read_at) : read_at;
  }
  return out ? out : pinged;
}

std::optional<std::size_t> pick(const std::vector<std::size_t>& from, std::uint32_t random) {
  if (from.empty()) return std::nullopt;
  return from[random % from.size()];
}

void sooner(std::optional<Choice::TimePoint>& next, Choice::TimePoint at) {
  next = std::min(next.value_or(at), at);
}

}  // namespace

void Choice::restore(Position at, std::vector<SourceMark> sources) {
  in_force_ = State{std::move(at), std::move(sources)};
  restored_ = true;
}

bool Choice::well(std::size_t updater) const {
  return updaters_[updater].connected && updaters_[updater].ok;
}

bool Choice::newer_is_connected() const {
  return in_force_ && std::any_of(updaters_.begin(), updaters_.end(), [&](const Updater& u) {
           return u.connected && u.at.epoch == in_force_->at.epoch;
         });
}

void Choice::note_gone(bool was_connected, TimePoint now) {
  if (was_connected && !newer_is_connected()) gone_at_ = now;
}

void Choice::connected(std::size_t updater, const Position& at, TimePoint now) {
  const bool before = newer_is_connected();
  updaters_[updater] = Updater{.tried = true, .connected = true, .since = now, .at = at};
  note_gone(before, now);
}

void Choice::lost(std::size_t updater, TimePoint now) {
  const bool before = newer_is_connected();
  if (feeder_ == updater) feeder_.reset();
  updaters_[updater] = Updater{.tried = true};
  note_gone(before, now);
}

void Choice::heard(std::size_t updater, const Ping& ping) {
  Updater& u = updaters_[updater];
  u.ok = ping.ok;
  if (ping.read_at) u.read_at = std::max(*ping.read_at, u.read_at.value_or(*ping.read_at));
  if (feeder_ == updater) refresh_read_at();
}

void Choice::received(std::size_t updater, const Position& at, std::vector<SourceMark> sources,
                      TimePoint now) {
  const bool before = newer_is_connected();
  Updater& u = updaters_[updater];
  u.at = at;
  u.ok = std::all_of(sources.begin(), sources.end(), [](const SourceMark& m) { return m.ok; });
  if (feeder_ == updater && continues(u)) {
    in_force_ = State{at, std::move(sources)};
    refresh_read_at();
    return;
  }
  if (feeder_ == updater) feeder_.reset();  // another epoch: has to be judged like any other's
  if (u.asked_at) u.offer = State{at, std::move(sources)};
  note_gone(before, now);
}

bool Choice::continues(const Updater& updater) const {
  return in_force_ && updater.at.epoch == in_force_->at.epoch;
}

// Compares what was known there last with what the state in force was made of, source by source.
std::optional<Choice::Older> Choice::older(const Updater& updater) const {
  if (!in_force_ || continues(updater)) return std::nullopt;
  for (const SourceMark& mine : in_force_->sources) {
    const SourceMark* theirs = find_mark(updater.offer->sources, mine.name);
    if (theirs == nullptr) return Older{mine.name, std::nullopt, mine.as_of};
    const SysTime read_at = read_at_of(*theirs, updater.read_at);
    if (read_at < mine.as_of) return Older{mine.name, read_at, mine.as_of};
  }
  return std::nullopt;
}

// One that is connected counts as gone from when it was asked and said nothing: its process may be
// frozen, or wait for its own sources for ever.
std::optional<Choice::TimePoint> Choice::gone_since() const {
  std::optional<TimePoint> out;
  for (const Updater& u : updaters_) {
    if (!u.connected || !continues(u)) continue;
    if (!u.asked_at) return std::nullopt;
    out = std::max(out.value_or(*u.asked_at), *u.asked_at);
  }
  return out ? out : gone_at_;
}

std::optional<std::size_t> Choice::acceptable() const {
  for (std::size_t i = 0; i < updaters_.size(); ++i)
    if (updaters_[i].offer && !older(updaters_[i])) return i;
  return std::nullopt;
}

std::optional<std::size_t> Choice::best_held() const {
  std::optional<std::size_t> best;
  std::optional<SysTime> best_read_at;
  for (std::size_t i = 0; i < updaters_.size(); ++i) {
    if (!updaters_[i].offer) continue;
    const auto read_at = oldest(updaters_[i].offer->sources, updaters_[i].read_at);
    if (best && read_at <= best_read_at) continue;
    best = i;
    best_read_at = read_at;
  }
  return best;
}

// As far as it has said: one that has just started waits for its sources.
bool Choice::has_state(const Updater& updater) {
  return updater.at.sequence > 0 || updater.read_at.has_value();
}

// Rather one whose sources are well and that has a state already; of equals any.
std::optional<std::size_t> Choice::next_to_ask(std::uint32_t random) const {
  std::vector<std::size_t> best;
  int best_rank = -1;
  for (std::size_t i = 0; i < updaters_.size(); ++i) {
    const Updater& u = updaters_[i];
    if (!u.connected || u.asked_at) continue;
    const int rank = (has_state(u) ? 2 : 0) + (u.ok ? 1 : 0);
    if (rank > best_rank) best.clear();
    best_rank = std::max(rank, best_rank);
    if (rank == best_rank) best.push_back(i);
  }
  return pick(best, random);
}

bool Choice::gathering(TimePoint now, Decision& out) const {
  bool untried = false;
  std::optional<TimePoint> first;
  for (const Updater& u : updaters_) {
    untried = untried || !u.tried;
    if (u.connected) first = std::min(first.value_or(u.since), u.since);
  }
  if (!untried || !first || now >= *first + kGather) return false;
  out.next = *first + kGather;
  return true;
}

Choice::Decision Choice::decide(TimePoint now, std::uint32_t random) {
  Decision out;
  if (feeder_)
    stay_or_switch(now, random, out);
  else
    seek(now, random, out);
  return out;
}

void Choice::seek(TimePoint now, std::uint32_t random, Decision& out) {
  if (const auto found = acceptable()) return take(*found, now, out);
  // What we have is of its run: it goes on from there, and need not send all of it again.
  if (!restored_)
    for (std::size_t i = 0; i < updaters_.size(); ++i)
      if (updaters_[i].connected && !updaters_[i].asked_at && continues(updaters_[i])) {
        ask(i, now, out);
        return take(i, now, out);
      }
  if (gathering(now, out)) return;
  const bool waiting = ask_more(now, random, out);
  const auto held = best_held();
  const auto gone = held ? gone_since() : std::nullopt;
  if (!gone) return;
  if (!waiting && now >= *gone + confirm_) return take(*held, now, out);
  if (now < *gone + confirm_) sooner(out.next, *gone + confirm_);
}

// Somebody, if nobody is waited for. true: an answer may still come.
bool Choice::ask_more(TimePoint now, std::uint32_t random, Decision& out) {
  const auto chosen = next_to_ask(random);
  const bool chosen_has = chosen && has_state(updaters_[*chosen]);
  bool waiting = false;
  for (const Updater& u : updaters_) {
    if (!u.asked_at || u.offer || now >= *u.asked_at + kPatience) continue;
    waiting = waiting || has_state(u) || !chosen_has;
    sooner(out.next, *u.asked_at + kPatience);
  }
  if (waiting || !chosen) return waiting;
  ask(*chosen, now, out);
  sooner(out.next, now + kPatience);
  return true;
}

// A feeder whose sources fail goes on feeding until a better one has sent its state.
void Choice::stay_or_switch(TimePoint now, std::uint32_t random, Decision& out) {
  const bool content = updaters_[*feeder_].ok;
  bool asked = false;
  for (std::size_t i = 0; i < updaters_.size(); ++i) {
    const Updater& u = updaters_[i];
    if (i == *feeder_ || !u.asked_at) continue;
    if (!content && u.ok && u.offer && !older(u)) return take(i, now, out);
    if (!content && u.ok && !u.offer && now < *u.asked_at + kSwitchAtMost)
      asked = true;
    else
      leave(i, out);
  }
  if (content || asked) return;
  const auto chosen = better(random);
  if (!chosen) return;
  if (switched_at_ && now < *switched_at_ + kSwitchAtMost) {
    out.next = *switched_at_ + kSwitchAtMost;
    return;
  }
  switched_at_ = now;
  ask(*chosen, now, out);
}

std::optional<std::size_t> Choice::better(std::uint32_t random) const {
  const Updater& feeder = updaters_[*feeder_];
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < updaters_.size(); ++i) {
    const Updater& u = updaters_[i];
    if (i == *feeder_ || !u.connected || !u.ok || u.asked_at || !u.read_at) continue;
    if (!feeder.read_at || *u.read_at >= *feeder.read_at) out.push_back(i);
  }
  return pick(out, random);
}

void Choice::ask(std::size_t updater, TimePoint now, Decision& out) {
  updaters_[updater].asked_at = now;
  updaters_[updater].offer.reset();
  out.ask.push_back(updater);
}

void Choice::leave(std::size_t updater, Decision& out) {
  updaters_[updater].asked_at.reset();
  updaters_[updater].offer.reset();
  out.leave.push_back(updater);
}

void Choice::take(std::size_t updater, TimePoint now, Decision& out) {
  Updater& u = updaters_[updater];
  if (u.offer) in_force_ = std::exchange(u.offer, std::nullopt);
  restored_ = false;
  gone_at_ = now;
  feeder_ = updater;
  out.take = updater;
  out.next.reset();
  for (std::size_t i = 0; i < updaters_.size(); ++i)
    if (i != updater && updaters_[i].asked_at) leave(i, out);
  refresh_read_at();
}

void Choice::refresh_read_at() {
  read_at_ = oldest(in_force_->sources, updaters_[*feeder_].read_at);
}

std::optional<Choice::Hold> Choice::hold() const {
  if (feeder_) return std::nullopt;
  const auto held = best_held();
  const auto why = held ? older(updaters_[*held]) : std::nullopt;
  if (!why) return std::nullopt;
  return Hold{*held, why->source, why->read_at, why->as_of, newer_is_connected()};
}

}  // namespace lb::relay
