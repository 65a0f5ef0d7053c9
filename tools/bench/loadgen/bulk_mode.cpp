// `bulk`: 64 KiB writes to a sink (or reads from a source) over C connections opened before the
// gate. Upwards, each connection ends with a half-close and the sink's count of what arrived:
// bytes that a path lost, or a proxy that drops the half-close, are failures, not speed.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "modes.h"

namespace lb::bench {
namespace {

enum class Phase { Transfer, AwaitCount, Done };

struct Stream {
  UniqueFd fd;
  Phase phase = Phase::Transfer;
  std::uint64_t moved = 0;
  std::size_t answered = 0;
  std::array<char, sizeof(std::uint64_t)> answer{};
};

class BulkRun {
 public:
  explicit BulkRun(const Options& options)
      : options_(options),
        share_(options.bytes / options.concurrency),
        streams_(options.concurrency),
        buffer_(kBulkChunk, 'x'),
        result_(options.concurrency) {}

  Result run(const Gate& gate) {
    open_all();
    gate();
    begin_ = now_ns();
    std::int64_t last_event = begin_;
    while (open_ > 0) {
      const auto events = epoll_.wait(kWaitMs);
      for (const epoll_event& event : events) on_event(event.data.u64);
      const std::int64_t now = now_ns();
      if (!events.empty()) last_event = now;
      if (now - last_event > std::chrono::nanoseconds(options_.timeout).count()) fail_all();
    }
    result_.set_elapsed(now_ns() - begin_);
    return std::move(result_);
  }

 private:
  static constexpr int kWaitMs = 100;

  void open_all() {
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      const Address& target = options_.targets[i % options_.targets.size()];
      if (const int error = connect_now(target, streams_[i].fd); error != 0) {
        result_.add_failure(error);
        streams_[i].fd.reset();
        continue;
      }
      epoll_.add(streams_[i].fd.get(), options_.down ? EPOLLIN : EPOLLOUT, i);
      ++open_;
    }
  }

  [[nodiscard]] bool enough(const Stream& stream) const {
    if (share_ > 0) return stream.moved >= share_;
    return now_ns() - begin_ >= std::chrono::nanoseconds(options_.duration).count();
  }

  void on_event(std::size_t index) {
    Stream& stream = streams_[index];
    if (stream.phase == Phase::Transfer) {
      options_.down ? pull(stream) : push(stream, index);
    } else if (stream.phase == Phase::AwaitCount) {
      read_count(stream);
    }
  }

  void push(Stream& stream, std::size_t index) {
    std::size_t want = buffer_.size();
    if (share_ > 0) want = std::min<std::uint64_t>(want, share_ - stream.moved);
    const ssize_t n = ::send(stream.fd.get(), buffer_.data(), want, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) finish(stream, errno);
      return;
    }
    stream.moved += static_cast<std::uint64_t>(n);
    if (!enough(stream)) return;
    if (::shutdown(stream.fd.get(), SHUT_WR) != 0) return finish(stream, errno);
    stream.phase = Phase::AwaitCount;
    epoll_.modify(stream.fd.get(), EPOLLIN, index);
  }

  void pull(Stream& stream) {
    const ssize_t n = ::recv(stream.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return finish(stream, n < 0 ? errno : ECONNRESET);
    stream.moved += static_cast<std::uint64_t>(n);
    if (enough(stream)) finish(stream, 0);
  }

  void read_count(Stream& stream) {
    const ssize_t n = ::recv(stream.fd.get(), stream.answer.data() + stream.answered,
                             stream.answer.size() - stream.answered, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return finish(stream, n < 0 ? errno : ECONNRESET);
    stream.answered += static_cast<std::size_t>(n);
    if (stream.answered < stream.answer.size()) return;
    std::uint64_t arrived = 0;
    std::memcpy(&arrived, stream.answer.data(), sizeof arrived);
    finish(stream, arrived == stream.moved ? 0 : EBADMSG);
  }

  void finish(Stream& stream, int error) {
    stream.phase = Phase::Done;
    stream.fd.reset();
    --open_;
    if (error != 0) return result_.add_failure(error);
    result_.add_latency(now_ns() - begin_);
    result_.add_bytes(stream.moved);
  }

  void fail_all() {
    for (Stream& stream : streams_) {
      if (stream.fd.valid()) finish(stream, ETIMEDOUT);
    }
  }

  const Options& options_;
  const std::uint64_t share_;
  Epoll epoll_;
  std::vector<Stream> streams_;
  std::vector<char> buffer_;
  Result result_;
  std::int64_t begin_ = 0;
  std::size_t open_ = 0;
};

}  // namespace

Result run_bulk(const Options& options, const Gate& gate) { return BulkRun(options).run(gate); }

}  // namespace lb::bench
