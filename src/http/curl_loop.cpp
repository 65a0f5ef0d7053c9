#include "http/curl_loop.h"

#include <cerrno>

#include <spdlog/spdlog.h>

#include "http/curl_transfer.h"

namespace lb {
namespace {

// curl_global_init is not thread-safe and must come first; a static does both.
void init_curl_once() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) bug("curl_global_init failed");
}

}  // namespace

CurlLoop::CurlLoop(asio::io_context& io) : io_(io), timer_(io) {
  init_curl_once();
  multi_.reset(curl_multi_init());
  if (!multi_) bug("curl_multi_init failed");
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &CurlLoop::on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &CurlLoop::on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
}

Result<std::shared_ptr<Transfer>> CurlLoop::start(HttpRequest request, bool stream,
                                                  std::string found_at) {
  if (!multi_) return fail(ECANCELED, request.url);  // closed while the name was looked up
  auto transfer = std::make_shared<Transfer>(io_.get_executor(), std::move(request), stream,
                                             std::move(found_at));
  LB_CHECK(prepare_transfer(*transfer));
  if (curl_multi_add_handle(multi_.get(), transfer->easy.get()) != CURLM_OK)
    return fail(ENOMEM, "curl_multi_add_handle");
  transfer->added = true;
  transfers_.emplace(transfer->easy.get(), transfer);
  return transfer;
}

void CurlLoop::remove(Transfer& transfer) noexcept {
  if (!std::exchange(transfer.added, false)) return;
  curl_multi_remove_handle(multi_.get(), transfer.easy.get());
  transfers_.erase(transfer.easy.get());
}

void CurlLoop::close() noexcept {
  while (!transfers_.empty()) {
    const auto transfer = transfers_.begin()->second;
    remove(*transfer);
    transfer->done = transfer->cancelled = true;
    transfer->changed.notify();
  }
  multi_.reset();
  for (const auto& [fd, watch] : watches_) watch->descriptor.release();
  watches_.clear();
  timer_.cancel();
}

int CurlLoop::on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void*) noexcept {
  return static_cast<CurlLoop*>(self)->watch_socket(easy, fd, what);
}

int CurlLoop::on_timer(CURLM*, long timeout_ms, void* self) noexcept {
  auto& loop = *static_cast<CurlLoop*>(self);
  if (timeout_ms < 0) {
    loop.timer_.cancel();
    return 0;
  }
  loop.timer_.expires_after(std::chrono::milliseconds(timeout_ms));
  loop.timer_.async_wait([weak = loop.weak_from_this()](boost::system::error_code ec) {
    const auto alive = weak.lock();
    // A handler that was queued before curl re-armed only makes curl look once too often.
    if (!ec && alive && alive->multi_) alive->action(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

int CurlLoop::watch_socket(CURL* easy, curl_socket_t fd, int what) noexcept {
  auto it = watches_.find(fd);
  if (what == CURL_POLL_REMOVE) {
    if (it == watches_.end()) return 0;
    it->second->want = 0;
    it->second->descriptor.release();  // ends the waits; curl closes the descriptor itself
    it->second->pause.cancel();
    watches_.erase(it);
    return 0;
  }
  if (it == watches_.end()) {
    auto watch = std::make_shared<Watch>(io_, fd);
    boost::system::error_code ec;
    watch->descriptor.assign(fd, ec);
    if (ec) {
      spdlog::error("watch curl socket fd={}: {}", fd, ec.message());
      return -1;
    }
    it = watches_.emplace(fd, std::move(watch)).first;
  }
  it->second->want = what;
  const auto transfer = transfers_.find(easy);
  if (transfer != transfers_.end()) it->second->transfer = transfer->second;
  arm(it->second);
  return 0;
}

void CurlLoop::arm(const std::shared_ptr<Watch>& watch) {
  if ((watch->want & CURL_POLL_IN) != 0) arm_one(watch, true);
  if ((watch->want & CURL_POLL_OUT) != 0) arm_one(watch, false);
}

void CurlLoop::arm_one(const std::shared_ptr<Watch>& watch, bool read) {
  bool& in_flight = read ? watch->reading : watch->writing;
  if (std::exchange(in_flight, true)) return;
  const auto transfer = read ? watch->transfer.lock() : nullptr;
  if (!transfer || transfer->pace.count() == 0) return wait(watch, read);
  watch->pause.expires_after(transfer->pace);
  watch->pause.async_wait([weak = weak_from_this(), watch](boost::system::error_code ec) {
    const auto loop = weak.lock();
    if (!ec && loop && loop->multi_ && watch->want != 0) return loop->wait(watch, true);
    watch->reading = false;
  });
}

void CurlLoop::wait(const std::shared_ptr<Watch>& watch, bool read) {
  const auto direction =
      read ? asio::posix::stream_descriptor::wait_read : asio::posix::stream_descriptor::wait_write;
  watch->descriptor.async_wait(
      direction, [weak = weak_from_this(), watch, read](boost::system::error_code ec) {
        (read ? watch->reading : watch->writing) = false;
        const auto loop = weak.lock();
        if (ec || !loop || !loop->multi_) return;
        const int wanted = read ? CURL_POLL_IN : CURL_POLL_OUT;
        if ((watch->want & wanted) == 0) return;  // curl changed its mind meanwhile
        loop->action(watch->fd, read ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
        // The number may belong to another connection by now: only the same Watch goes on.
        const auto it = loop->watches_.find(watch->fd);
        if (it != loop->watches_.end() && it->second == watch) loop->arm(watch);
      });
}

void CurlLoop::action(curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_.get(), fd, events, &running);
  drain_messages();
}

void CurlLoop::drain_messages() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode result = message->data.result;  // gone after the remove
    const auto it = transfers_.find(message->easy_handle);
    if (it == transfers_.end()) continue;
    const auto transfer = it->second;
    transfer->result = result;
    transfer->done = true;
    remove(*transfer);
    transfer->changed.notify();
  }
}

}  // namespace lb
