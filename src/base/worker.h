// A thread beside the loop, for calls that block and have no other form: fsync, RCU grace periods.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>

#include "base/result.h"

namespace lb {

namespace asio = boost::asio;

// Runs one job after the other, in the order in which they were given. A job owns what it works on:
// nothing of the loop's may be used in it. Everything but the jobs happens on the thread of `io`,
// which outlives this.
class Worker {
 public:
  using Job = std::function<Result<>()>;
  using Done = std::function<void(Result<>)>;  // called from the loop, never within run()

  // The name is for `top -H`, at most 15 characters.
  Worker(asio::io_context& io, const std::string& name);
  // Finishes the jobs that were given; whose end was not told by then is told no more.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void run(Job job, Done done);
  // Returns when all jobs that were given have run. Their ends are told later, as always.
  void wait();

 private:
  struct Task {
    Job job;
    Done done;
  };
  void work();

  asio::io_context& io_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // used on the loop only
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // the first is running
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace lb
