// When Marathon is read: at least every interval, soon after an event, again soon when something is missing
// that no event explained, and after a failure when the caller says. Pure: the time is handed in.
#pragma once

#include <algorithm>
#include <chrono>

namespace lb::marathon {

class ReadPlan {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;
  // Events come in groups; while they go on without a pause there is a reading all the same.
  static constexpr std::chrono::milliseconds kDebounce{50};
  static constexpr std::chrono::milliseconds kLongestDebounce{1'000};
  // The wipe guard believes in an absence after 10 s: by then several readings shall have had it.
  static constexpr std::chrono::milliseconds kFirstDoubt{1'000};
  static constexpr std::chrono::milliseconds kNextDoubt{3'000};
  static constexpr std::chrono::milliseconds kDoubt{13'000};

  explicit ReadPlan(std::chrono::milliseconds interval) : interval_(interval) {}

  // An event told that something has changed.
  void hint(TimePoint now) {
    if (hinted_ == kNever) hinted_ = now;
    hint_due_ = std::min<TimePoint>(now + kDebounce, hinted_ + kLongestDebounce);
  }
  void at_once() { full_ = TimePoint::min(); }
  // Backends are missing that nobody spoke of.
  void doubt(TimePoint now) {
    doubt_until_ = now + kDoubt;
    doubt_due_ = now + kFirstDoubt;
  }
  void trust() { doubt_until_ = kNever; }
  [[nodiscard]] bool doubts() const { return doubt_until_ != kNever; }

  void begin(TimePoint now) {
    began_ = now;
    hinted_ = retry_at_ = kNever;
    full_ = kNever;
  }
  // `random` is in [0, 1): the readings of a fleet spread out.
  void succeeded(TimePoint now, double random) {
    const auto full = std::chrono::duration_cast<Duration>(interval_ * (0.8 + 0.2 * random));
    full_ = std::min(full_, began_ + full);
    // A Marathon that takes long is asked by events half of the time at most.
    rest_until_ = now + std::min<Duration>(now - began_, kLongestDebounce);
    if (doubts() && began_ >= doubt_until_) trust();
    if (doubts() && doubt_due_ <= began_) doubt_due_ = began_ + kNextDoubt;
  }
  void failed(TimePoint retry_at) { retry_at_ = retry_at; }

  [[nodiscard]] TimePoint due() const {
    if (retry_at_ != kNever) return retry_at_;
    TimePoint out = full_;
    if (hinted_ != kNever) out = std::min(out, std::max(hint_due_, rest_until_));
    if (doubts()) out = std::min(out, doubt_due_);
    return out;
  }

 private:
  static constexpr TimePoint kNever = TimePoint::max();
  std::chrono::milliseconds interval_;
  TimePoint full_ = TimePoint::min();  // the first one at once
  TimePoint began_{}, hint_due_{}, rest_until_{}, doubt_due_{};
  TimePoint hinted_ = kNever;  // the first event since the last reading began
  TimePoint doubt_until_ = kNever, retry_at_ = kNever;
};

}  // namespace lb::marathon
