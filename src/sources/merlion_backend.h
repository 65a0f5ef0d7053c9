// One backend below a Merlion prefix: what its keys say, and what follows from them at a moment. Pure.
// Rules: docs/ARCHITECTURE.md.
#pragma once

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

  // A failed connect keeps a backend out until a newer last-seen-at says that it is back.
  struct Exit {
    SysTime at;
    std::string reason;
    std::optional<SysTime> seen;  // last-seen-at as it was then
    int newer = 0;                // how many newer ones came since
    SteadyTime retry_at;          // out of sync no newer one can come: then it is tried again
  };

  // What holds for all backends of a prefix.
  struct Rules {
    std::chrono::milliseconds freshness;
    bool in_sync = false;  // else time stands still for freshness
  };
  struct Judgement {
    bool changed = false;  // something that is shown is different now
    SteadyTime next_look = SteadyTime::max();
  };

  explicit MerlionBackend(Moment now) : incomplete_since_(now.steady) {}

  // `key` is the part below the backend's name, "" for a value at the name itself. A bad value is
  // noted in errors(), and the last good one stays. True when its address or an error is different now;
  // everything else that is shown is judge()'s.
  bool set(std::string_view key, const std::string& value);
  // `expired`: a lease or TTL ran out, or may have. That says that nobody wrote, not that the backend
  // was never seen: the time of the last sign of life stays and expires by freshness.
  // True as of set().
  bool erase(std::string_view key, bool expired, Moment now);
  // Nothing of it is left in etcd.
  [[nodiscard]] bool empty() const;

  // A connect to it failed at `now`, as far as the kernel could tell not by the client's fault.
  void connect_failed(std::string reason, Moment now);
  // What was in use keeps its place for one full freshness, whatever its last-seen-at says: its
  // publisher may not have been able to write, or we to read.
  void give_grace(std::chrono::milliseconds freshness, Moment now);
  Judgement judge(const Rules& rules, Moment now);

  // A listing makes every backend anew. This one was known before: its history goes on. Then come
  // set() for each key that is listed, and end_listing().
  void continue_from(const MerlionBackend& before);
  // It was known in an earlier run, with this state, when that run last looked.
  void continue_saved(BackendState state, SysTime as_of);
  void end_listing();

  [[nodiscard]] BackendState state() const { return state_; }
  [[nodiscard]] Reason reason() const { return reason_; }
  [[nodiscard]] const std::optional<HostPort>& address() const { return address_; }
  [[nodiscard]] const std::optional<SysTime>& last_seen() const { return last_seen_; }
  [[nodiscard]] const std::optional<Exit>& exit() const { return exit_; }
  // Whatever `disabled` says: not seen for too long, or exited.
  [[nodiscard]] bool unavailable() const { return unavailable_; }
  [[nodiscard]] bool disabled() const { return disabled_; }
  [[nodiscard]] bool has_plain_value() const { return plain_value_; }
  [[nodiscard]] bool is_ahead() const { return ahead_; }            // last-seen-at, by over 60 s
  [[nodiscard]] bool is_incomplete() const { return incomplete_; }  // no listen-address for 2 s
  // Key -> why its present value is not taken.
  using Errors = std::map<std::string, std::string, std::less<>>;
  [[nodiscard]] const Errors& errors() const { return errors_; }

 private:
  // Empty: the value is good. True when that was not so before.
  bool note_error(std::string_view key, std::string error);
  void set_last_seen(SysTime time);
  [[nodiscard]] bool is_exited(const Rules& rules, Moment now) const;

  bool plain_value_ = false;  // PREFIX/NAME itself has a value
  std::optional<HostPort> address_;
  std::optional<SysTime> last_seen_;
  bool has_last_seen_key_ = false;
  bool address_inherited_ = false, last_seen_inherited_ = false;  // not listed so far
  bool disabled_ = false;
  Errors errors_;
  std::optional<Exit> exit_;
  std::optional<SteadyTime> grace_until_;
  SteadyTime incomplete_since_;
  bool incomplete_ = false;
  bool ahead_ = false;
  bool unavailable_ = true;
  BackendState state_ = BackendState::Stale;
  Reason reason_ = Reason::NeverSeen;
};

}  // namespace lb
