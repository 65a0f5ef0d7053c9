// One backend below a Merlion prefix: what its keys say, and what follows from them at a moment. Pure.
// Rules: docs/ARCHITECTURE.md.
//
// A last-seen-at that changes is a sign of life, whatever the clocks say; how long ago that was is
// judged by the steady clock. The written time counts at first sight only.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "model/address.h"
#include "model/programmed.h"
#include "model/service.h"
#include "sources/clocks.h"

namespace lb {

// Whether a failed connect says that the backend is not there: refused, timed out or unreachable. A
// client that gave up, or lacked something on this host, says nothing of it.
[[nodiscard]] bool tells_of_backend(const ConnectFailure& failure);

class MerlionBackend {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // A failed connect keeps a backend out until another last-seen-at says that it is back.
  struct Exit {
    SysTime at;
    std::string reason;
    std::optional<SysTime> seen;  // last-seen-at as it was then
    int newer = 0;                // how many others came since
    SteadyTime retry_at;          // out of sync no other one can come: then it is tried again
    // When the first connect in a row failed; nullopt: in an earlier run.
    std::optional<SteadyTime> began{};
    bool refused = false;  // by the backend's own host, which proves that there is a route
  };
  // What an earlier run knew.
  struct Saved {
    BackendState state = BackendState::Stale;
    Reason reason = Reason::None;
  };

  // What holds for all backends of a prefix.
  struct Rules {
    std::chrono::milliseconds freshness;
    bool in_sync = false;  // else time stands still for freshness
    // What etcd had to say until then was read: an expiry after that is not believed yet.
    SteadyTime confirmed = SteadyTime::max();
  };
  struct Judgement {
    void look_at(SteadyTime at, Moment now) {
      if (at > now.steady) next_look = std::min(next_look, at);
    }
    bool changed = false;  // something that is shown is different now
    SteadyTime next_look = SteadyTime::max();
    bool unconfirmed = false;  // it expires as soon as Rules::confirmed says so
  };

  explicit MerlionBackend(Moment now) : incomplete_since_(now.steady) {}

  // `key` is the part below the backend's name, "" for a value at the name itself. A bad value is
  // noted in errors(), and the last good one stays. True when its address or an error is different now;
  // everything else that is shown is judge()'s. `live`: a watch tells of it as it is written.
  bool set(std::string_view key, const std::string& value, Moment now, bool live = true);
  // At first sight: the last sign of life is as old as last-seen-at is before `reference`, the newest
  // of all. No effect on what was heard of before.
  void settle_first_sight(SysTime reference, Moment now);
  // `expired`: a lease or TTL ran out, or may have. That says that nobody wrote, not that the backend
  // was never seen: the time of the last sign of life stays and expires by freshness.
  // True as of set().
  bool erase(std::string_view key, bool expired, Moment now);
  // Nothing of it is left in etcd.
  [[nodiscard]] bool empty() const;

  // A connect to it failed at `now`, as far as the kernel could tell not by the client's fault.
  void connect_failed(std::string reason, bool refused, Moment now);
  // What was in use keeps its place for one full freshness, whatever its last-seen-at says: its
  // publisher may not have been able to write, or we to read.
  void give_grace(std::chrono::milliseconds freshness, Moment now);
  Judgement judge(const Rules& rules, Moment now);

  // A listing makes every backend anew. This one was known before: its history goes on. Then come
  // set() for each key that is listed, and end_listing().
  void continue_from(const MerlionBackend& before);
  // It was known in an earlier run, which last looked at `as_of`. Then as above.
  void continue_saved(const Saved& saved, SysTime as_of, Moment now);
  // `trusted`: what it lacks is not there. Else the last sign of life stays, and expires by freshness.
  void end_listing(bool trusted = true);

  // Silent together with all others, or out together with all others: the likelier fault is not its
  // own. judge() heeds both.
  void set_held(bool held) { held_ = held; }
  void set_last_resort(bool last_resort) { last_resort_ = last_resort; }
  [[nodiscard]] bool is_held() const { return held_; }
  [[nodiscard]] bool is_last_resort() const { return last_resort_; }

  [[nodiscard]] BackendState state() const { return state_; }
  [[nodiscard]] Reason reason() const { return reason_; }
  [[nodiscard]] const std::optional<HostPort>& address() const { return address_; }
  [[nodiscard]] const std::optional<SysTime>& last_seen() const { return last_seen_; }
  [[nodiscard]] const std::optional<Exit>& exit() const { return exit_; }
  // The last sign of life; nullopt: none in this run, and none that is known of an earlier one.
  [[nodiscard]] const std::optional<SteadyTime>& heard_at() const { return heard_at_; }
  [[nodiscard]] bool is_expired() const { return expired_; }  // not heard of within freshness
  [[nodiscard]] bool is_exited() const { return exited_; }
  // Whatever `disabled` says: not seen for too long, or exited.
  [[nodiscard]] bool unavailable() const { return unavailable_; }
  [[nodiscard]] bool disabled() const { return disabled_; }
  [[nodiscard]] bool has_plain_value() const { return plain_value_; }
  [[nodiscard]] bool is_ahead() const { return ahead_; }            // last-seen-at, by over 60 s
  [[nodiscard]] bool is_behind() const { return behind_; }          // when it was written
  [[nodiscard]] bool is_incomplete() const { return incomplete_; }  // no listen-address for 2 s
  // Key -> why its present value is not taken.
  using Errors = std::map<std::string, std::string, std::less<>>;
  [[nodiscard]] const Errors& errors() const { return errors_; }

 private:
  // Empty: the value is good. True when that was not so before.
  bool note_error(std::string_view key, std::string error);
  void set_last_seen(SysTime time, Moment now, bool live);
  void set_state(BackendState state, Reason reason);
  // The parts of judge(): what is worth a warning, what has run out, what follows.
  void judge_values(Moment now, Judgement& out);
  void judge_times(const Rules& rules, Moment now, Judgement& out);
  void judge_state();
  // When it expires; nullopt: it has not been heard of.
  [[nodiscard]] std::optional<SteadyTime> expiry(const Rules& rules) const;

  bool plain_value_ = false;  // PREFIX/NAME itself has a value
  std::optional<HostPort> address_;
  std::optional<SysTime> last_seen_;
  bool has_last_seen_key_ = false;
  bool address_inherited_ = false, last_seen_inherited_ = false;  // not listed so far
  bool disabled_ = false;
  Errors errors_;
  std::optional<Exit> exit_;
  std::optional<SteadyTime> heard_at_;
  bool first_sight_ = false;  // heard_at_ is not settled yet
  bool was_stale_ = false;    // in an earlier run: until it changes it stays so
  bool expired_ = true;
  bool exited_ = false;
  bool held_ = false;
  bool last_resort_ = false;
  std::optional<SteadyTime> grace_until_;
  SteadyTime incomplete_since_;
  bool incomplete_ = false;
  bool ahead_ = false;
  bool behind_ = false;
  bool unavailable_ = true;
  BackendState state_ = BackendState::Stale;
  Reason reason_ = Reason::NeverSeen;
};

}  // namespace lb
