// What is wrong with one updater, for people: told once and in words that stay the same, however often
// it is tried again. A value.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/address.h"
#include "relay/choice.h"

namespace lb::relay {

[[nodiscard]] std::string to_string(const HostPort& updater);  // as it is configured

enum class Stage { Dial, Hello, Up };  // how far the connection had come
struct Trouble {
  std::string text;    // names the updater, and what to do where that is known
  bool fault = false;  // trying again will not help, an operator has to do something
};
[[nodiscard]] Trouble explain(const HostPort& updater, const Error& error, Stage stage);

// Why there is no state from anybody; one text for each updater that was tried.
[[nodiscard]] std::string nobody_feeds(const std::vector<std::string>& errors);
[[nodiscard]] std::string holding(const HostPort& updater, const Choice::Hold& hold,
                                  std::chrono::milliseconds confirm);
// A warning for each that plain TCP takes beyond this host.
[[nodiscard]] std::vector<std::string> plain_text(const std::vector<HostPort>& updaters);

class Complaint {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // A connection that lived shorter was no success.
  static constexpr std::chrono::seconds kStable{15};

  void failed(Trouble trouble, TimePoint now) {
    up_since_.reset();
    if (!down_since_) down_since_ = now;
    if (text_.empty() || (trouble.fault && !fault_)) text_ = std::move(trouble.text);
    fault_ = fault_ || trouble.fault;
  }
  void connected(TimePoint now) {
    up_since_ = now;
    down_since_.reset();
    if (!fault_) text_.clear();
  }

  // One who was away for a moment is not worth a line in the log. Forgets a fault that has passed.
  [[nodiscard]] std::optional<std::string> warning(TimePoint now) {
    if (up_since_ && now - *up_since_ >= kStable) {
      text_.clear();
      fault_ = false;
    }
    if (text_.empty() || (!fault_ && now - *down_since_ < kStable)) return std::nullopt;
    return text_;
  }
  // When warning() will say something else.
  [[nodiscard]] std::optional<TimePoint> next(TimePoint now) const {
    if (text_.empty()) return std::nullopt;
    if (up_since_) return *up_since_ + kStable;
    if (fault_ || now - *down_since_ >= kStable) return std::nullopt;
    return *down_since_ + kStable;
  }

 private:
  std::string text_;
  bool fault_ = false;
  std::optional<TimePoint> up_since_, down_since_;  // at most one of them
};

}  // namespace lb::relay
