// What an updater has to say at any moment: its state, and the ways there from the states before it.
// Each message is encoded once, however many listeners get it. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/line.h"
#include "relay/message.h"

namespace lb::relay {

// Everything but at, base and sources. Both sorted by ServiceRef. Compares pointers first.
[[nodiscard]] Delta make_delta(const std::vector<ServicePtr>& before,
                               const std::vector<ServicePtr>& after);

class StateFeed {
 public:
  explicit StateFeed(std::string epoch) : at_{std::move(epoch), 0} {}

  // Sorted by key. true: this is a new state (always so for the first), else only marks changed.
  bool publish(std::vector<ServicePtr> services, std::vector<SourceMark> sources);
  void mark(std::vector<SourceMark> sources) { sources_ = std::move(sources); }

  // Sequence 0: nothing was published yet.
  [[nodiscard]] const Position& at() const { return at_; }
  [[nodiscard]] const std::vector<SourceMark>& sources() const { return sources_; }
  [[nodiscard]] Ping ping() const;

  struct Step {
    Line line;
    std::uint64_t sequence = 0;  // of who has it
  };
  // What brings a listener on from `have` (of this epoch; nullopt: from nothing). Only when there is
  // something to say: at() has another sequence than `have`.
  [[nodiscard]] Step next(std::optional<std::uint64_t> have);
  // Is `have` a state of ours that next() can go on from?
  [[nodiscard]] bool knows(const Position& have) const;

 private:
  struct Past {
    std::uint64_t sequence = 0;
    std::vector<ServicePtr> services;
    std::size_t cost = 0;  // backends of services that the next state no longer shares
  };

  [[nodiscard]] const std::vector<ServicePtr>* find(std::uint64_t sequence) const;
  void remember(const Delta& change);

  Position at_;
  std::vector<ServicePtr> services_;
  std::vector<SourceMark> sources_;
  std::deque<Past> past_;  // oldest first, without gaps up to at_.sequence - 1
  Step snapshot_;          // the last one that was encoded, and with which marks
  std::vector<SourceMark> snapshot_sources_;
  std::map<std::uint64_t, Line> deltas_;  // from this sequence to at_
};

}  // namespace lb::relay
