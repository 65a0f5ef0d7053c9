#include "ebpf/events.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include <cerrno>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb::bpf {

EventRing::EventRing(asio::io_context& io, Handler handler)
    : handler_(std::move(handler)), readable_(io) {}

EventRing::~EventRing() { ring_buffer__free(ring_); }

Result<std::unique_ptr<EventRing>> EventRing::open(asio::io_context& io, int map_fd,
                                                   Handler handler) {
  std::unique_ptr<EventRing> out(new EventRing(io, std::move(handler)));
  out->ring_ = ring_buffer__new(map_fd, &EventRing::on_event, out.get(), nullptr);
  if (!out->ring_) return fail(errno, "open the ring of events");
  const int fd = ::dup(ring_buffer__epoll_fd(out->ring_));
  if (fd < 0) return fail(errno, "duplicate the ring's descriptor");
  out->readable_.assign(fd);
  return out;
}

asio::awaitable<void> EventRing::run() {
  for (;;) {
    const auto [ec] = co_await readable_.async_wait(asio::posix::stream_descriptor::wait_read,
                                                    asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
    drain();
  }
}

void EventRing::drain() { ring_buffer__consume(ring_); }

void EventRing::close() {
  handler_ = [](const lb_event&) {};
  boost::system::error_code ignored;
  readable_.close(ignored);
}

int EventRing::on_event(void* self, void* data, std::size_t size) noexcept {
  if (size >= sizeof(lb_event))
    static_cast<EventRing*>(self)->handler_(*static_cast<const lb_event*>(data));
  return 0;
}

}  // namespace lb::bpf
