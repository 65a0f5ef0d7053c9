#include "tools/lbctl/register_session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/time.h"

namespace lb::lbctl {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr milliseconds kProbePause = 100ms;  // while waiting for the first accept
constexpr milliseconds kCheckPause = 1s;  // while nothing accepts any more: back soon after it does
// Every lbd has `disabled` within milliseconds of the write; a member of etcd that lags, or an lbd
// that is just connecting anew, needs longer.
constexpr milliseconds kTaken = 2s;
constexpr milliseconds kQuiet = 1s;     // a connect may have been decided and not be there yet
constexpr milliseconds kSayPause = 1s;  // a busy backend's count changes at every look
constexpr milliseconds kLeaving = 10s;  // COMMAND has ended: whoever waits for us waits for nothing

std::string connections(std::uint64_t n) {
  return fmt::format("{} connection{}", n, n == 1 ? "" : "s");
}

}  // namespace

Session::Session(SessionConfig config, TimePoint now)
    : config_(std::move(config)),
      phase_(config_.wait_ready ? Phase::Starting : Phase::Serving),
      running_(config_.has_command),
      next_probe_(now),
      next_write_(now) {
  if (phase_ == Phase::Starting) deadline_ = now + config_.ready_timeout;
}

void Session::say(std::string event, std::string words, nlohmann::ordered_json fields) {
  notices_.push_back({std::move(event), std::move(words), std::move(fields)});
}

void Session::leave(TimePoint now) {
  phase_ = attempted_ ? Phase::Leaving : Phase::Done;
  deadline_ = now + kLeaving;
  next_write_ = now;
}

void Session::drain_timed_out() {
  const std::string what = phase_ == Phase::Disabling ? "etcd does not know that it is disabled"
                           : left_                    ? connections(*left_) + " left"
                                                      : "its connections could not be counted";
  say("drain-timeout",
      fmt::format("going on after {}: {}", format_duration(config_.drain_timeout), what));
  phase_ = Phase::Stopping;
  stop_wanted_ = true;
}

// Moves on where time or nothing more to do is the reason.
void Session::advance(TimePoint now) {
  const bool over = now >= deadline_;
  if (phase_ == Phase::Starting && over) {
    failed_ = true;
    say("not-ready",
        fmt::format("nothing accepts at {} after {}: not registered. Is this the address it "
                    "listens on? --no-wait-ready registers without looking",
                    config_.address, format_duration(config_.ready_timeout)));
    phase_ = Phase::Stopping;
    stop_wanted_ = true;
  }
  if ((phase_ == Phase::Disabling || phase_ == Phase::Draining) && over) drain_timed_out();
  if (phase_ == Phase::Stopping && !running_) leave(now);
  if (phase_ == Phase::Leaving && now >= deadline_) {
    say("keys-stay",
        fmt::format("etcd does not answer: the keys of {} stay, and go stale", config_.name));
    phase_ = Phase::Done;
  }
}

Session::Wants Session::step(TimePoint now) {
  advance(now);
  Wants out;
  const auto due = [&](TimePoint when) {
    if (when > now) out.wake = std::min(out.wake, when);
    return when <= now;
  };
  switch (phase_) {
    case Phase::Starting:
      out.probe = due(next_probe_);
      break;
    case Phase::Serving:
      want_serving(out, now);
      break;
    case Phase::Disabling:
      if (due(next_write_)) out.write = Goal::Disabled;
      break;
    case Phase::Draining:
      out.count = due(next_count_);
      break;
    case Phase::Stopping:
      out.stop_command = std::exchange(stop_wanted_, false);
      break;
    case Phase::Leaving:
      if (due(next_write_)) out.write = config_.keep ? Goal::Disabled : Goal::Gone;
      break;
    case Phase::Done:
      out.exit = failed_ ? 1 : code_;
      return out;
  }
  if (phase_ != Phase::Serving && phase_ != Phase::Stopping) (void)due(deadline_);
  return out;
}

void Session::want_serving(Wants& out, TimePoint now) {
  if (next_write_ > now) {
    out.wake = next_write_;
  } else if (config_.check && !probe_ok_) {
    out.probe = true;
  } else {
    out.write = registered_ ? Goal::Seen : Goal::Announced;
    attempted_ = true;
  }
}

void Session::probed(const Result<>& accepts, TimePoint now) {
  if (phase_ == Phase::Starting) {
    next_probe_ = now + kProbePause;
    if (!accepts) return;
    phase_ = Phase::Serving;
    probe_ok_ = true;
    next_write_ = now;
  } else if (phase_ == Phase::Serving && accepts) {
    probe_ok_ = true;
    beat_twice_ = !accepting_;
    if (!accepting_)
      say("accepting", fmt::format("{} accepts again: last-seen-at is refreshed", config_.address));
  } else if (phase_ == Phase::Serving) {
    next_write_ = now + std::min(config_.interval, kCheckPause);
    if (accepting_)
      say("not-accepting",
          fmt::format("{}: last-seen-at is not refreshed", accepts.error().message()),
          {{"error", accepts.error().message()}});
  }
  accepting_ = accepts.has_value();
}

void Session::etcd_failed(const WriteReport& report, TimePoint now) {
  next_write_ = now + report.pause;
  probe_ok_ = false;  // asked again: much may have happened meanwhile
  const Error& error = report.done.error();
  if (std::exchange(etcd_error_, error.code.value()) == error.code.value()) return;
  say("etcd-failing", fmt::format("etcd: {}; trying on", error.message()),
      {{"error", error.message()}});
}

void Session::wrote(const WriteReport& report, TimePoint now) {
  if (!report.done) return etcd_failed(report, now);
  if (std::exchange(etcd_error_, std::nullopt))
    say("etcd-answers", fmt::format("{} answers", report.where), {{"etcd", report.where}});
  if (report.goal == Goal::Announced || report.goal == Goal::Seen) return seen(report, now);
  if (phase_ == Phase::Disabling) {
    phase_ = Phase::Draining;
    disabled_at_ = next_count_ = now;
    say("disabled", fmt::format("{} is disabled", config_.name));
  } else if (phase_ == Phase::Leaving) {
    phase_ = Phase::Done;
    if (report.goal == Goal::Gone && report.other_address.empty())
      say("unregistered", fmt::format("{} is not registered any more", config_.name));
  }
}

void Session::seen(const WriteReport& report, TimePoint now) {
  if (phase_ != Phase::Serving) return;  // it was on its way when the end began
  // Whole seconds are written. After a failure the first of them may lie before it by the clock of
  // whoever has seen the failure; the second one does not.
  next_write_ = now + (std::exchange(beat_twice_, false) ? std::min(config_.interval, kCheckPause)
                                                         : config_.interval);
  probe_ok_ = false;
  if (!registered_) {
    registered_ = true;
    say("registered",
        fmt::format("registered {} at {} in {}, {}{}", config_.name, config_.address,
                    config_.prefix, report.where,
                    report.other_address.empty()
                        ? ""
                        : fmt::format(" (it was at {})", report.other_address)),
        {{"etcd", report.where}});
    return;
  }
  if (report.other_address == other_address_) return;
  other_address_ = report.other_address;
  if (!other_address_.empty())
    say("taken-over",
        fmt::format("{} is registered at {} now: its keys are left to that one", config_.name,
                    other_address_),
        {{"other", other_address_}});
}

void Session::counted(const Result<Left>& left, milliseconds pause, TimePoint now) {
  if (phase_ != Phase::Draining) return;
  next_count_ = now + pause;
  if (!left || !left->unknown.empty()) {
    zero_since_.reset();
    const std::string why = left ? left->unknown : left.error().message();
    if (std::exchange(said_, why) != why)
      say("draining",
          fmt::format("draining: {}; waiting until {} are over", why,
                      format_duration(config_.drain_timeout)),
          {{"error", why}});
    return;
  }
  if (left->connections > 0 || !left->settled)
    zero_since_.reset();
  else if (!zero_since_)
    zero_since_ = now;
  progress(*left, now);
  left_ = left->connections;
  if (!zero_since_ || now - *zero_since_ < kQuiet || now - disabled_at_ < kTaken) return;
  say("drained", "no connection is left");
  phase_ = Phase::Stopping;
  stop_wanted_ = true;
}

void Session::progress(const Left& left, TimePoint now) {
  const std::string words = fmt::format("draining: {} left{}", connections(left.connections),
                                        left.settled ? "" : ", and not every lbd knows yet");
  if (words == said_ || (!said_.empty() && now - said_at_ < kSayPause)) return;
  if (said_.empty() && left.connections == 0 && left.settled) return;
  said_ = words;
  said_at_ = now;
  say("draining", words, {{"connections", left.connections}});
}

void Session::signalled(const std::string& signal, TimePoint now) {
  if (phase_ == Phase::Serving && attempted_) {
    phase_ = Phase::Disabling;
    deadline_ = now + config_.drain_timeout;
    next_write_ = now;
    say("stopping",
        fmt::format("{}: disabling {}, then waiting up to {} for its connections; a second signal "
                    "skips that",
                    signal, config_.name, format_duration(config_.drain_timeout)),
        {{"signal", signal}});
    return;
  }
  if (phase_ == Phase::Leaving) {
    say("keys-stay", fmt::format("{}: the keys of {} stay, and go stale", signal, config_.name));
    phase_ = Phase::Done;
  } else if (phase_ != Phase::Done) {
    say("stopping", fmt::format("{}: {}", signal, running_ ? "stopping the command" : "stopping"),
        {{"signal", signal}});
    phase_ = Phase::Stopping;
    stop_wanted_ = true;
  }
}

void Session::command_ended(int code, TimePoint now) {
  running_ = false;
  code_ = code;
  failed_ = failed_ || phase_ == Phase::Starting;
  say("command-ended",
      fmt::format("the command has ended with status {}{}", code,
                  phase_ == Phase::Starting
                      ? fmt::format(" before anything accepted at {}", config_.address)
                      : ""),
      {{"status", code}});
  leave(now);
}

}  // namespace lb::lbctl
