#include "daemon/log_queue.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "base/block_signals.h"

namespace lb {
namespace {

// False: the descriptor takes nothing, as when its reader has died.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno ==
               EAGAIN) {  // another program with the same terminal has made it non-blocking
      pollfd writable{fd, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct LogQueue::State {
  State(int to, std::size_t most) : fd(to), limit(most) {}

  const int fd;
  const std::size_t limit;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> lines;  // the one that is being written is not in it
  std::size_t bytes = 0;          // in `lines`
  bool writing = false;
  bool ending = false;
  std::uint64_t dropped = 0;
  std::uint64_t told = 0;  // of them
};

LogQueue::LogQueue(int fd, std::size_t limit) : state_(std::make_shared<State>(fd, limit)) {
  std::thread thread([state = state_] { work(state); });
  (void)::pthread_setname_np(thread.native_handle(), "lbd-log");
  thread.detach();
}

LogQueue::~LogQueue() {
  const std::lock_guard lock(state_->mutex);
  state_->ending = true;
  state_->changed.notify_all();
}

void LogQueue::push(std::string line) {
  State& s = *state_;
  {
    const std::lock_guard lock(s.mutex);
    s.bytes += line.size();
    s.lines.push_back(std::move(line));
    for (; s.bytes > s.limit && s.lines.size() > 1; s.lines.pop_front(), ++s.dropped)
      s.bytes -= s.lines.front().size();
  }
  s.changed.notify_all();
}

bool LogQueue::flush(std::chrono::milliseconds within) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  return s.changed.wait_for(lock, within, [&] { return s.lines.empty() && !s.writing; });
}

std::uint64_t LogQueue::dropped() const {
  const std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

std::uint64_t LogQueue::take_news() {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  // Said into a full queue it would only push out another line.
  if (s.dropped == s.told || s.bytes > s.limit / 2) return 0;
  return s.dropped - std::exchange(s.told, s.dropped);
}

void LogQueue::work(const std::shared_ptr<State>& state) {
  block_signals();
  State& s = *state;
  std::unique_lock lock(s.mutex);
  for (;;) {
    s.changed.wait(lock, [&] { return s.ending || !s.lines.empty(); });
    if (s.lines.empty()) return;
    const std::string line = std::move(s.lines.front());
    s.lines.pop_front();
    s.bytes -= line.size();
    s.writing = true;
    lock.unlock();
    const bool written = write_all(s.fd, line);
    lock.lock();
    s.writing = false;
    if (!written) ++s.dropped;
    if (s.lines.empty()) s.changed.notify_all();  // for flush()
  }
}

}  // namespace lb
