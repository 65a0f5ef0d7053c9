// Work on a thread of its own, for which a coroutine waits: what takes long and ends, and calls that may hang, as a read from a disk or
// a network file system can, for which it does not wait for ever.
#pragma once

#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/event.h"
#include "base/result.h"

namespace lb {

// The threads of one loop: asio::use_service<Beside>(context).
class Beside final : public asio::execution_context::service {
 public:
  static constexpr int kMost = 32;  // threads that hang cannot be ended, so they are counted

  static asio::execution_context::id id;
  explicit Beside(asio::execution_context& context);
  ~Beside() override;

  // False: kMost jobs are under way. A job owns what it works on, since it may outlive everything;
  // `done` is called from the loop.
  [[nodiscard]] bool run(const asio::any_io_executor& loop, std::function<void()> job,
                         std::function<void()> done);

 private:
  struct State;
  void shutdown() override;

  std::shared_ptr<State> state_;  // shared with the threads
  std::map<int, std::function<void()>> ends_;
  int next_ = 0;
};

// ETIMEDOUT: it is still under way, and its result has no reader.
template <class T>
asio::awaitable<Result<T>> beside(std::function<Result<T>()> job,
                                  std::chrono::milliseconds within) {
  struct Answer {
    explicit Answer(const asio::any_io_executor& executor) : told(executor) {}
    Event told;
    bool come = false;
  };
  const asio::any_io_executor loop = co_await asio::this_coro::executor;
  const auto answer = std::make_shared<Answer>(loop);
  const auto result = std::make_shared<std::optional<Result<T>>>();  // the job's until it has ended
  auto& threads = asio::use_service<Beside>(asio::query(loop, asio::execution::context));
  std::function<void()> work = [job = std::move(job), result] { result->emplace(job()); };
  std::function<void()> end = [answer] {
    answer->come = true;
    answer->told.notify();
  };
  if (!threads.run(loop, std::move(work), std::move(end)))
    co_return fail(EAGAIN, "too many files are read already from disks that do not answer");
  (void)co_await answer->told.wait(std::chrono::steady_clock::now() + within);
  if (!answer->come)
    co_return fail(ETIMEDOUT, "the disk, or the server of the file, does not answer");
  co_return std::move(**result);
}

// What is parsed beside the loop: less is done in a few milliseconds.
constexpr std::size_t kLargeText = std::size_t{256} << 10;

// Work that takes long and ends: a large answer to be parsed. It runs at once, on the loop, where every thread is taken. The job owns
// what it works on; ECANCELED when the waiting coroutine is cancelled.
template <class T>
asio::awaitable<Result<T>> off_loop(std::function<Result<T>()> job) {
  const asio::any_io_executor loop = co_await asio::this_coro::executor;
  const auto ended = std::make_shared<Event>(loop);
  const auto result = std::make_shared<std::optional<Result<T>>>();  // the job's until it has ended
  const auto shared = std::make_shared<std::function<Result<T>()>>(std::move(job));
  auto& threads = asio::use_service<Beside>(asio::query(loop, asio::execution::context));
  std::function<void()> work = [shared, result] {
    result->emplace((*shared)());
    *shared = nullptr;  // here, and not on the loop, dies what it held
  };
  if (!threads.run(loop, work, [ended] { ended->notify(); })) {
    work();
    co_return std::move(**result);
  }
  if (co_await ended->wait() == Event::Woken::Cancelled)
    co_return fail(ECANCELED, "work beside the loop");
  co_return std::move(**result);
}

}  // namespace lb
