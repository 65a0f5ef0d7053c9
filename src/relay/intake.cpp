#include "relay/intake.h"

#include <cerrno>
#include <variant>

#include <fmt/format.h>

#include "relay/replica.h"

namespace lb::relay {

void Intake::up(std::size_t updater, const Position& at, TimePoint now) {
  inlets_[updater] = Inlet{};
  choice_.connected(updater, at, now);
}

void Intake::down(std::size_t updater, TimePoint now) {
  inlets_[updater] = Inlet{};
  choice_.lost(updater, now);
}

Result<> Intake::take(std::size_t updater, Message message, TimePoint now) {
  if (const auto* ping = std::get_if<Ping>(&message)) choice_.heard(updater, *ping);
  // What was on its way when it was told that it is not wanted any more.
  if (!choice_.wanted(updater)) return {};
  if (auto* snapshot = std::get_if<SnapshotMessage>(&message))
    return take_snapshot(updater, std::move(*snapshot), now);
  if (auto* delta = std::get_if<Delta>(&message))
    return take_delta(updater, std::move(*delta), now);
  return {};
}

// The next state of the run that is in force, from the updater that feeds?
bool Intake::feeds_on(std::size_t updater, const Position& at) const {
  return choice_.feeder() == updater && in_force_ && in_force_->at.epoch == at.epoch;
}

Result<> Intake::take_snapshot(std::size_t updater, SnapshotMessage message, TimePoint now) {
  Inlet& inlet = inlets_[updater];
  inlet.resyncing = false;
  Replica replica{std::move(message.at), std::move(message.sources), std::move(message.services)};
  if (in_force_) replica.services = share(in_force_->services, std::move(replica.services));
  const Position at = replica.at;
  const std::vector<SourceMark> sources = replica.sources;
  if (feeds_on(updater, at)) {
    guarded_ = guarded_ || at.sequence < in_force_->at.sequence;
    in_force_ = std::move(replica);
    ++version_;
  } else {
    inlet.replica = std::move(replica);
  }
  choice_.received(updater, at, sources, now);
  return {};
}

Result<> Intake::take_delta(std::size_t updater, Delta delta, TimePoint now) {
  Inlet& inlet = inlets_[updater];
  if (inlet.resyncing) return {};  // what was on its way before the snapshot
  const bool feeds = choice_.feeder() == updater;
  std::optional<Replica>& replica = feeds ? in_force_ : inlet.replica;
  Result<> applied = fail(ESTALE, "a change of a state that was never sent");
  if (replica && follows(delta, replica->at)) applied = relay::apply(delta, replica->services);
  if (!applied) {
    if (++inlet.resyncs > kResyncsAtMost)
      return fail(EBADMSG, fmt::format("sends changes that do not fit its states: {}",
                                       applied.error().context));
    inlet.resyncing = true;
    resyncs_.push_back(updater);
    return {};
  }
  inlet.resyncs = 0;
  replica->at = delta.at;
  replica->sources = std::move(delta.sources);
  if (feeds) ++version_;
  choice_.received(updater, replica->at, replica->sources, now);
  return {};
}

Intake::Todo Intake::decide(TimePoint now, std::uint32_t random) {
  Todo out;
  const Choice::Decision decision = choice_.decide(now, random);
  for (const std::size_t updater : decision.ask) {
    Inlet& inlet = inlets_[updater];
    Feed feed{.wants_state = true, .have = std::nullopt};
    // Taken before it has sent anything: its run goes on.
    if (decision.take == updater && in_force_) feed.have = in_force_->at;
    inlet.replica.reset();
    inlet.resyncing = false;
    out.feeds.emplace_back(updater, std::move(feed));
  }
  if (decision.take) put_in_force(*decision.take);
  for (const std::size_t updater : decision.leave) {
    inlets_[updater].replica.reset();
    out.feeds.emplace_back(updater, Feed{.wants_state = false, .have = std::nullopt});
  }
  for (const std::size_t updater : std::exchange(resyncs_, {}))
    if (choice_.wanted(updater)) out.resyncs.push_back(updater);
  out.next = decision.next;
  return out;
}

void Intake::put_in_force(std::size_t updater) {
  std::optional<Replica>& replica = inlets_[updater].replica;
  if (!replica) return;  // the same run as before: what is in force goes on
  const bool goes_on = in_force_ && in_force_->at.epoch == replica->at.epoch &&
                       replica->at.sequence >= in_force_->at.sequence;
  guarded_ = guarded_ || !goes_on;
  in_force_ = std::exchange(replica, std::nullopt);
  ++version_;
}

}  // namespace lb::relay
