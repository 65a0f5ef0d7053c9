// A thread beside the loop, for calls that block and have no other form: fsync, RCU grace periods.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/result.h"

namespace lb {

namespace asio = boost::asio;

// Runs one job after the other, in the order in which they were given. A job owns what it works on:
// nothing of the loop's may be used in it, since one that hangs outlives this. Everything but the jobs
// happens on the thread of `io`, which outlives this.
class Worker {
 public:
  using Job = std::function<Result<>()>;
  using Done = std::function<void(Result<>)>;  // called from the loop, never within run()

  // The name is for `top -H`, at most 15 characters.
  Worker(asio::io_context& io, const std::string& name);
  // Finishes the jobs that were given, and tells their ends no more. One that hangs, as a disk can for
  // ever, is left alone with its thread after two seconds, and those behind it do not run.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void run(Job job, Done done);
  // Waits until all jobs that were given have run; false when that takes longer. Their ends are told
  // later, as always.
  [[nodiscard]] bool wait(std::chrono::milliseconds within);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace lb
