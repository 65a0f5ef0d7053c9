// `connect`: N short connections, C at a time, as cheap as one epoll thread can make them: the
// request is sent right after connect() (loopback is established by then), so that a connection
// needs one wake-up of the client, the one for the reply.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "modes.h"

namespace lb::bench {
namespace {

struct Slot {
  UniqueFd fd;
  std::int64_t started = 0;
  std::size_t sent = 0;
  std::size_t received = 0;
};

class ConnectRun {
 public:
  explicit ConnectRun(const Options& options)
      : options_(options),
        slots_(std::min<std::uint64_t>(options.concurrency, options.count)),
        result_(options.count) {}

  Result run(const Gate& gate) {
    gate();
    const std::int64_t begin = now_ns();
    for (std::size_t i = 0; i < slots_.size(); ++i) open_next(i);
    std::int64_t next_check = begin + kCheckEvery;
    while (open_ > 0) {
      for (const epoll_event& event : epoll_.wait(kWaitMs)) on_event(event);
      if (const std::int64_t now = now_ns(); now >= next_check) {
        expire(now);
        next_check = now + kCheckEvery;
      }
    }
    result_.set_elapsed(now_ns() - begin);
    return std::move(result_);
  }

 private:
  static constexpr int kWaitMs = 100;
  static constexpr std::int64_t kCheckEvery = 100'000'000;  // expiry needs no finer grain

  // Tries until one connection is under way or the count is used up: a refused connect fails
  // at once here and must not recurse.
  void open_next(std::size_t index) {
    Slot& slot = slots_[index];
    while (opened_ < options_.count) {
      const Address& target = options_.targets[opened_ % options_.targets.size()];
      ++opened_;
      slot.started = now_ns();
      slot.sent = slot.received = 0;
      int error = start_connect(target, slot.fd);
      if (error == 0) error = send_request(slot);
      if (error == 0 || error == EAGAIN) {
        epoll_.add(slot.fd.get(), error == 0 ? EPOLLIN : EPOLLIN | EPOLLOUT, index);
        ++open_;
        return;
      }
      result_.add_failure(error);
      slot.fd.reset();
    }
  }

  // 0 when all is sent, EAGAIN when not yet, else the failure.
  int send_request(Slot& slot) {
    static constexpr std::array<char, kMessageSize> kRequest{};
    const ssize_t n = ::send(slot.fd.get(), kRequest.data() + slot.sent,
                             kRequest.size() - slot.sent, MSG_NOSIGNAL);
    if (n < 0) return errno;
    slot.sent += static_cast<std::size_t>(n);
    return slot.sent == kRequest.size() ? 0 : EAGAIN;
  }

  void on_event(const epoll_event& event) {
    const std::size_t index = event.data.u64;
    Slot& slot = slots_[index];
    if (!slot.fd.valid()) return;
    if (slot.sent < kMessageSize) {
      const int error = send_request(slot);
      if (error == 0) epoll_.modify(slot.fd.get(), EPOLLIN, index);
      if (error != 0 && error != EAGAIN) return finish(index, error);
      if ((event.events & EPOLLIN) == 0) return;
    }
    receive(index);
  }

  void receive(std::size_t index) {
    Slot& slot = slots_[index];
    std::array<char, kMessageSize> buffer;
    const ssize_t n = ::recv(slot.fd.get(), buffer.data(), buffer.size() - slot.received, 0);
    if (n < 0) {
      if (errno != EAGAIN) finish(index, errno);
      return;
    }
    if (n == 0) return finish(index, ECONNRESET);  // closed before the reply was complete
    slot.received += static_cast<std::size_t>(n);
    if (slot.received == kMessageSize) finish(index, 0);
  }

  void finish(std::size_t index, int error) {
    Slot& slot = slots_[index];
    if (error == 0) {
      result_.add_latency(now_ns() - slot.started);
      result_.add_bytes(2 * kMessageSize);
    } else {
      result_.add_failure(error);
    }
    slot.fd.reset();
    --open_;
    open_next(index);
  }

  void expire(std::int64_t now) {
    const std::int64_t limit = std::chrono::nanoseconds(options_.timeout).count();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].fd.valid() && now - slots_[i].started > limit) finish(i, ETIMEDOUT);
    }
  }

  const Options& options_;
  Epoll epoll_;
  std::vector<Slot> slots_;
  Result result_;
  std::uint64_t opened_ = 0;
  std::size_t open_ = 0;
};

}  // namespace

Result run_connect(const Options& options, const Gate& gate) {
  return ConnectRun(options).run(gate);
}

}  // namespace lb::bench
