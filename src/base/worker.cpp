#include "base/worker.h"

#include <pthread.h>

#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace lb {

Worker::Worker(asio::io_context& io, const std::string& name)
    : io_(io), thread_([this] { work(); }) {
  (void)::pthread_setname_np(thread_.native_handle(), name.c_str());
}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Worker::run(Job job, Done done) {
  // The loop does not end while somebody waits for the answer. `done` is destroyed on the loop, too.
  Done tell = [alive = std::weak_ptr(alive_), done = std::move(done),
               guard = asio::make_work_guard(io_)](Result<> result) {
    if (alive.lock()) done(std::move(result));
  };
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({std::move(job), std::move(tell)});
  }
  changed_.notify_all();
}

void Worker::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return tasks_.empty(); });
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());  // its place stays, for wait()
    lock.unlock();
    Result<> result = task.job();
    task.job = nullptr;  // what it held may be large: not under the lock
    asio::post(io_, [done = std::move(task.done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
    lock.lock();
    tasks_.pop_front();
    changed_.notify_all();
  }
}

}  // namespace lb
