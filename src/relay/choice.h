// Which updater feeds a listener, who else is asked for its state meanwhile, and when a state that is
// older than the one in force is taken after all. A value: the caller brings what happened, the time,
// and randomness, and carries decisions out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "relay/message.h"

namespace lb::relay {

// At least one feeds whenever one is connected that has a state which may be taken.
class Choice {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // At the start the first to answer waits so long for the others, so that chance decides and not
  // the network: else the nearest updater would feed the whole fleet.
  static constexpr std::chrono::milliseconds kGather{100};
  // Whoever has been asked and has not sent a state by then is not waited for any longer: the next
  // one is asked, too. Shorter, a fleet that comes back at once would ask every updater for all of it.
  static constexpr std::chrono::milliseconds kPatience{3'000};
  // A feeder is left for a better one at most so often.
  static constexpr std::chrono::seconds kSwitchAtMost{30};

  struct Decision {
    std::vector<std::size_t> ask;     // wants_state = true
    std::vector<std::size_t> leave;   // wants_state = false
    std::optional<std::size_t> take;  // its state is in force from now on, and it feeds
    std::optional<TimePoint> next;    // decide again then, if nothing happens before
  };
  // An older state that is not taken yet.
  struct Hold {
    std::size_t updater = 0;
    std::string source;  // the first of its sources that is older, or that it does not have
    std::optional<SysTime> read_at;  // there; nullopt: it does not have it
    SysTime as_of;                   // in force
    bool newer_connected = false;    // the updater whose state is in force
  };

  // `start`: since when the updater of a restored state counts as gone.
  Choice(std::size_t updaters, std::chrono::milliseconds confirm, TimePoint start)
      : updaters_(updaters), confirm_(confirm), gone_at_(start) {}

  // The state of an earlier run, which is in force until the first comes.
  void restore(Position at, std::vector<SourceMark> sources);

  void connected(std::size_t updater, const Position& at, TimePoint now);
  void lost(std::size_t updater, TimePoint now);  // also: could not be connected
  void heard(std::size_t updater, const Ping& ping);
  // A whole state of it is known, by a snapshot or a delta. Of the feeder it is in force with that.
  void received(std::size_t updater, const Position& at, std::vector<SourceMark> sources,
                TimePoint now);

  [[nodiscard]] Decision decide(TimePoint now, std::uint32_t random);

  [[nodiscard]] std::optional<std::size_t> feeder() const { return feeder_; }
  // Is its state wanted: it feeds, or has been asked?
  [[nodiscard]] bool wanted(std::size_t updater) const {
    return updaters_[updater].asked_at.has_value();
  }
  [[nodiscard]] bool well(std::size_t updater) const;
  [[nodiscard]] std::optional<Hold> hold() const;
  // When the whole of what is in force was last known to be true, in this run.
  [[nodiscard]] std::optional<SysTime> read_at() const { return read_at_; }

 private:
  struct State {
    Position at;
    std::vector<SourceMark> sources;
  };
  struct Updater {
    bool tried = false;  // connected or failed at least once
    bool connected = false;
    TimePoint since{};
    Position at{};   // of its hello, or of the last state
    bool ok = true;  // until it says otherwise
    std::optional<SysTime> read_at{};
    std::optional<TimePoint> asked_at{};
    std::optional<State> offer{};  // what it has sent since it was asked
  };
  struct Older {
    std::string source;
    std::optional<SysTime> read_at;
    SysTime as_of;
  };

  void seek(TimePoint now, std::uint32_t random, Decision& out);
  [[nodiscard]] bool ask_more(TimePoint now, std::uint32_t random, Decision& out);
  void stay_or_switch(TimePoint now, std::uint32_t random, Decision& out);
  [[nodiscard]] bool gathering(TimePoint now, Decision& out) const;
  [[nodiscard]] std::optional<std::size_t> acceptable() const;
  [[nodiscard]] std::optional<std::size_t> best_held() const;
  [[nodiscard]] static bool has_state(const Updater& updater);
  [[nodiscard]] std::optional<std::size_t> next_to_ask(std::uint32_t random) const;
  [[nodiscard]] std::optional<std::size_t> better(std::uint32_t random) const;
  [[nodiscard]] std::optional<Older> older(const Updater& updater) const;
  [[nodiscard]] bool continues(const Updater& updater) const;
  [[nodiscard]] bool newer_is_connected() const;
  [[nodiscard]] std::optional<TimePoint> gone_since() const;
  void note_gone(bool was_connected, TimePoint now);
  void ask(std::size_t updater, TimePoint now, Decision& out);
  void leave(std::size_t updater, Decision& out);
  void take(std::size_t updater, TimePoint now, Decision& out);
  void refresh_read_at();

  std::vector<Updater> updaters_;
  std::chrono::milliseconds confirm_;
  std::optional<State> in_force_;
  bool restored_ = false;  // what is in force is of an earlier run
  TimePoint gone_at_;      // when the updater of what is in force went, if it is not connected
  std::optional<std::size_t> feeder_;
  std::optional<TimePoint> switched_at_;
  std::optional<SysTime> read_at_;
};

}  // namespace lb::relay
