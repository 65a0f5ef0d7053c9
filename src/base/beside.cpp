#include "base/beside.h"

#include <mutex>
#include <thread>

#include <boost/asio/post.hpp>

#include "base/block_signals.h"

namespace lb {

asio::execution_context::id Beside::id;

struct Beside::State {
  std::mutex mutex;
  bool open = true;  // false: the loop is gone
  int running = 0;
};

Beside::Beside(asio::execution_context& context)
    : asio::execution_context::service(context), state_(std::make_shared<State>()) {}

Beside::~Beside() = default;

void Beside::shutdown() {
  const std::lock_guard lock(state_->mutex);
  state_->open = false;
  ends_.clear();
}

bool Beside::run(const asio::any_io_executor& loop, std::function<void()> job,
                 std::function<void()> done) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->running >= kMost) return false;
    ++state_->running;
  }
  const int number = next_++;
  ends_.emplace(number, std::move(done));
  std::thread thread([this, state = state_, loop, number, job = std::move(job)]() mutable {
    block_signals();
    job();
    job = nullptr;  // here, and not on the loop, dies what it held
    const std::lock_guard lock(state->mutex);
    --state->running;
    if (!state->open) return;  // and so may `this` be
    asio::post(loop, [this, number] {
      if (auto end = ends_.extract(number)) end.mapped()();
    });
  });
  (void)::pthread_setname_np(thread.native_handle(), "lbd-beside");
  thread.detach();
  return true;
}

}  // namespace lb
