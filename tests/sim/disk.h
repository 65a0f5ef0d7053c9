// The disk of a history: what is to be saved waits in line, and may never get there.
#pragma once

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "sim/world.h"

namespace lb::sim {

class Disk {
 public:
  enum class Mood : std::uint8_t { Good, Slow, Full, Hung };
  using Job = std::function<Result<>()>;
  using Done = std::function<void(Result<>)>;

  Disk(World& world, std::string folder) : world_(world), folder_(std::move(folder)) {}

  void set(Mood mood) { mood_ = mood; }
  [[nodiscard]] Mood mood() const { return mood_; }
  void run(Job job, Done done) {
    const milliseconds most(mood_ == Mood::Slow ? 3'000 : 20);
    jobs_.push_back({world_.now.steady + world_.random.between(milliseconds(1), most),
                     std::move(job), std::move(done)});
  }
  [[nodiscard]] SteadyTime next_due() const {
    return jobs_.empty() || mood_ == Mood::Hung ? SteadyTime::max() : jobs_.front().due;
  }
  void do_due() {
    while (next_due() <= world_.now.steady) do_first();
  }
  // At a stop: false, it hangs.
  bool finish() {
    if (mood_ == Mood::Hung) return jobs_.empty();
    while (!jobs_.empty()) do_first();
    return true;
  }
  // All that was given to it has been written.
  [[nodiscard]] bool clean() const { return jobs_.empty() && last_good_; }
  // The power of an lbd to hear of it is gone; what was under way may have got there.
  void abandon() {
    if (!jobs_.empty() && mood_ != Mood::Full && mood_ != Mood::Hung && world_.random.chance(50))
      (void)jobs_.front().job();
    jobs_.clear();
  }

 private:
  struct Waiting {
    SteadyTime due;
    Job job;
    Done done;
  };
  void do_first() {
    Waiting first = std::move(jobs_.front());
    jobs_.pop_front();
    const Result<> result = mood_ == Mood::Full ? run_in_vain(first.job) : first.job();
    last_good_ = result.has_value();
    first.done(result);
  }

  // Nothing can be written: what is there stays, out of the job's reach.
  Result<> run_in_vain(const Job& job) const {
    const std::string aside = folder_ + ".aside";
    std::filesystem::rename(folder_, aside);
    std::ofstream(folder_).put(' ');
    Result<> result = job();
    std::filesystem::remove(folder_);
    std::filesystem::rename(aside, folder_);
    return result;
  }

  World& world_;
  std::string folder_;
  Mood mood_ = Mood::Good;
  bool last_good_ = true;
  std::deque<Waiting> jobs_;
};

}  // namespace lb::sim
