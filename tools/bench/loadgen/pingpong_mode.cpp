// `pingpong`: N round trips of 64 bytes over C connections. They are opened before the gate: only
// the established path is measured. A broken connection is counted once and not replaced.
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "modes.h"

namespace lb::bench {
namespace {

struct Peer {
  UniqueFd fd;
  std::int64_t started = 0;
  std::size_t received = 0;
};

class PingPongRun {
 public:
  explicit PingPongRun(const Options& options)
      : options_(options), peers_(options.concurrency), result_(options.count) {}

  Result run(const Gate& gate) {
    open_all();
    gate();
    const std::int64_t begin = now_ns();
    for (std::size_t i = 0; i < peers_.size(); ++i) ping(i);
    std::int64_t last_progress = begin;
    while (waiting_ > 0) {
      const auto events = epoll_.wait(kWaitMs);
      for (const epoll_event& event : events) pong(event.data.u64);
      if (!events.empty()) continue;
      if (last_ok_ == result_.ok() && now_ns() - last_progress > timeout()) fail_waiting();
      if (last_ok_ != result_.ok()) last_progress = now_ns();
      last_ok_ = result_.ok();
    }
    result_.set_elapsed(now_ns() - begin);
    return std::move(result_);
  }

 private:
  static constexpr int kWaitMs = 100;

  [[nodiscard]] std::int64_t timeout() const {
    return std::chrono::nanoseconds(options_.timeout).count();
  }

  void open_all() {
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const Address& target = options_.targets[i % options_.targets.size()];
      if (const int error = connect_now(target, peers_[i].fd); error != 0) {
        result_.add_failure(error);
        peers_[i].fd.reset();
        continue;
      }
      epoll_.add(peers_[i].fd.get(), EPOLLIN, i);
    }
  }

  void ping(std::size_t index) {
    Peer& peer = peers_[index];
    if (!peer.fd.valid() || started_ == options_.count) return;
    ++started_;
    peer.started = now_ns();
    peer.received = 0;
    static constexpr std::array<char, kMessageSize> kRequest{};
    const ssize_t n = ::send(peer.fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
    ++waiting_;
    // 64 bytes always fit into an empty send buffer: a short write is a broken connection.
    if (n != static_cast<ssize_t>(kRequest.size())) drop(index, n < 0 ? errno : EIO);
  }

  void pong(std::size_t index) {
    Peer& peer = peers_[index];
    if (!peer.fd.valid()) return;
    std::array<char, kMessageSize> buffer;
    const ssize_t n = ::recv(peer.fd.get(), buffer.data(), buffer.size() - peer.received, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return drop(index, n < 0 ? errno : ECONNRESET);
    peer.received += static_cast<std::size_t>(n);
    if (peer.received < kMessageSize) return;
    result_.add_latency(now_ns() - peer.started);
    result_.add_bytes(2 * kMessageSize);
    peer.started = 0;
    --waiting_;
    ping(index);
  }

  // An idle peer that is closed by the other side is a failure as well.
  void drop(std::size_t index, int error) {
    Peer& peer = peers_[index];
    result_.add_failure(error);
    if (peer.started != 0) --waiting_;
    peer.started = 0;
    peer.fd.reset();
  }

  void fail_waiting() {
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      if (peers_[i].fd.valid() && peers_[i].started != 0) drop(i, ETIMEDOUT);
    }
  }

  const Options& options_;
  Epoll epoll_;
  std::vector<Peer> peers_;
  Result result_;
  std::uint64_t started_ = 0;
  std::size_t waiting_ = 0;
  std::size_t last_ok_ = 0;
};

}  // namespace

Result run_pingpong(const Options& options, const Gate& gate) {
  return PingPongRun(options).run(gate);
}

}  // namespace lb::bench
