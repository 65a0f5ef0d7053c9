// The listeners that have gone lately, and what is still to be known of them: that they are away, and the
// last connections of what they drained. Bounded, for what strangers can leave behind. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "relay/listener_view.h"

namespace lb::relay {

class Departed {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::minutes kRemembered{10};

  // `host`: its address without the port.
  void add(ListenerView view, const std::string& host, TimePoint now);
  void returned(const std::string& node, const std::string& host);
  void forget(TimePoint now);  // those of more than 10 minutes ago

  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [number, gone] : gone_) visit(gone.view, gone.who.second, gone.since);
  }
  [[nodiscard]] std::size_t size() const { return gone_.size(); }
  [[nodiscard]] std::size_t reports() const { return reports_; }

 private:
  using Who = std::pair<std::string, std::string>;  // node, host
  using Number = std::uint64_t;                     // in the order in which they went
  struct Gone {
    ListenerView view;
    Who who;
    std::string owner;
    TimePoint since;
  };

  void remove(Number number);

  std::map<Number, Gone> gone_;
  std::map<Who, Number> by_who_;
  std::map<std::string, std::set<Number>> by_owner_;
  Number next_ = 0;
  std::size_t reports_ = 0;  // of all of them
};

}  // namespace lb::relay
