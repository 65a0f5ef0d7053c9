// What lbd owns in the kernel, and the one rule by which each thing of it is looked after: looked at on one clock, compared with what
// must be, put back, counted; tried again with back-off while that fails, and a problem until it is right. Does no I/O itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/result.h"

namespace lb {

class Upkeep {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // However long it has failed, it is right this long after the cause is gone; sooner where it is looked at more often.
  static constexpr std::chrono::milliseconds kLongest{10'000};

  // Compares one thing with what must be, and puts it right. How often it was wrong; an error while it cannot be put right.
  using Look = std::function<Result<std::size_t>()>;

  explicit Upkeep(std::string owner) : owner_(std::move(owner)) {}

  // `what` begins a sentence: "the nft tables".
  void add(std::string what, std::chrono::milliseconds pace, Look look);
  // Looks at what is due. One that fails keeps no other from its turn. Call it about once a second.
  void run(Time now);
  // Everything is due at the next run.
  void soon();

  // What is not right now, a sentence each: empty is well.
  [[nodiscard]] std::vector<std::string> problems() const;
  // What was put back since the start, a sentence each.
  [[nodiscard]] std::vector<std::string> repairs() const;

 private:
  struct Item {
    std::string what;
    std::chrono::milliseconds pace;
    Look look;
    Time next{};
    Backoff backoff{};
    std::string error{};
    std::uint64_t repairs = 0;
  };
  void look_at(Item& item, Time now);

  std::string owner_;
  std::vector<Item> items_;
};

}  // namespace lb
