// A source of a history: tells the truth late, in part, wrongly or not at all, by the pure code of the
// real source where there is some. One lives as long as its lbd, and not over a restart.
#pragma once

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/world.h"
#include "sources/source.h"

namespace lb::sim {

class Script : public Source {
 public:
  // What befalls it. A lie is told once, or for less than what the guard waits.
  enum class Mood : std::uint8_t { True, ShortOnce, Empty, Fails };

  Script(World& world, std::size_t index) : world_(world), index_(index) {}

  // Does what is due by now.
  virtual void step() = 0;
  [[nodiscard]] virtual SteadyTime next_due() const = 0;
  // Something has changed that it can hear of at once: a task's end, an edit, a DELETE.
  virtual void ended(const Instance& instance) { (void)instance; }
  virtual void edited() {}
  // lbd has slept, and the world has not.
  virtual void slept() {}
  // Other faults of its kind, at random.
  virtual void befall() {}
  // Everything is well again, and it says so as soon as it can.
  virtual void heal() = 0;

  // Not twice in a row: what two readings agree on is believed.
  void lie(Mood mood, SteadyTime until) {
    const bool lies = mood == Mood::ShortOnce || mood == Mood::Empty;
    if (lied_ || (lies && mood_ != Mood::True)) return;
    mood_ = mood;
    mood_until_ = until;
  }
  // What is to be delivered.
  [[nodiscard]] std::optional<Result<Snapshot>> take() { return std::exchange(out_, std::nullopt); }

  asio::awaitable<Result<Snapshot>> next() override { co_return fail(ENOSYS, "never asked"); }
  [[nodiscard]] SourceStatus status() const override {
    return {.connected = connected_, .error = {}, .position = {}};
  }

 protected:
  [[nodiscard]] Mood mood() {
    if (mood_ != Mood::True && mood_ != Mood::ShortOnce && mood_until_ <= world_.now.steady)
      mood_ = Mood::True;
    return mood_;
  }
  void told_the_lie() {
    lied_ = true;
    if (mood_ == Mood::ShortOnce) mood_ = Mood::True;
  }
  void told_the_truth() { lied_ = false; }
  // Those that it lists, told truly.
  template <class Visit>
  void for_each_listed(Visit visit) const {
    for (const auto& [address, instance] : world_.instances)
      if (instance.source == index_ && instance.listed) visit(instance);
  }

  World& world_;
  std::size_t index_;
  bool connected_ = false;
  std::optional<Result<Snapshot>> out_;

 private:
  Mood mood_ = Mood::True;
  bool lied_ = false;
  SteadyTime mood_until_{};
};

}  // namespace lb::sim
