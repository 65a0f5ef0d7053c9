// The ring of failed connects, as a stream on the loop.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "bpf/lb_abi.h"

struct ring_buffer;

namespace lb::bpf {

namespace asio = boost::asio;

class EventRing {
 public:
  using Handler = std::function<void(const lb_event&)>;

  // `map_fd` is the ring's; it is not taken over.
  [[nodiscard]] static Result<std::unique_ptr<EventRing>> open(asio::io_context& io, int map_fd,
                                                               Handler handler);
  ~EventRing();

  // Hands every event to the handler, until cancelled. Run it as a root coroutine.
  asio::awaitable<void> run();
  // What is in the ring now.
  void drain();
  // run() ends, also one that has not begun, and the handler is called no more.
  void close();

 private:
  EventRing(asio::io_context& io, Handler handler);
  static int on_event(void* self, void* data, std::size_t size) noexcept;

  Handler handler_;
  ring_buffer* ring_ = nullptr;
  asio::posix::stream_descriptor readable_;  // a duplicate of the ring's epoll descriptor
};

}  // namespace lb::bpf
