#include "base/worker.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace lb {
namespace {

constexpr std::chrono::seconds kLeave{2};  // what a stop may wait for a disk

using Guard = asio::executor_work_guard<asio::io_context::executor_type>;

struct Task {
  Worker::Job job;
  Worker::Done done;
  Guard guard;  // the loop does not end while an answer is awaited
};

}  // namespace

struct Worker::State {
  explicit State(asio::io_context& context) : io(&context) {}

  asio::io_context* io;  // null: the worker is gone, and `io` may be
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // locked on the loop only
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Task> tasks;  // the first is running
  bool ending = false;
};

Worker::Worker(asio::io_context& io, const std::string& name)
    : state_(std::make_shared<State>(io)) {
  std::thread thread([state = state_] { work(state); });
  (void)::pthread_setname_np(thread.native_handle(), name.c_str());
  thread.detach();
}

Worker::~Worker() {
  (void)wait(kLeave);
  std::deque<Task> untold;  // what their ends hold belongs to the loop
  const std::lock_guard lock(state_->mutex);
  state_->alive.reset();
  state_->io = nullptr;
  state_->ending = true;
  untold.swap(state_->tasks);
  state_->changed.notify_all();
}

void Worker::run(Job job, Done done) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->tasks.push_back({std::move(job), std::move(done), asio::make_work_guard(*state_->io)});
  }
  state_->changed.notify_all();
}

bool Worker::wait(std::chrono::milliseconds within) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, within, [this] { return state_->tasks.empty(); });
}

void Worker::work(const std::shared_ptr<State>& state) {
  State& s = *state;
  std::unique_lock lock(s.mutex);
  for (;;) {
    s.changed.wait(lock, [&] { return s.ending || !s.tasks.empty(); });
    if (s.ending) return;
    Job job = std::move(s.tasks.front().job);  // the task's place stays, for wait()
    lock.unlock();
    Result<> result = job();
    job = nullptr;  // what it held may be large: not under the lock
    lock.lock();
    if (s.ending) return;
    asio::post(*s.io, [alive = std::weak_ptr(s.alive), task = std::move(s.tasks.front()),
                       result = std::move(result)]() mutable {
      if (alive.lock()) task.done(std::move(result));
    });
    s.tasks.pop_front();
    s.changed.notify_all();
  }
}

}  // namespace lb
