#include "http/client.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "http/curl_loop.h"
#include "http/host_lookup.h"

namespace lb {

HttpStream::HttpStream(std::weak_ptr<CurlLoop> loop, std::shared_ptr<Transfer> transfer)
    : loop_(std::move(loop)), transfer_(std::move(transfer)) {}

HttpStream::HttpStream(HttpStream&&) noexcept = default;

HttpStream& HttpStream::operator=(HttpStream&& other) noexcept {
  HttpStream old(std::move(*this));
  loop_ = std::move(other.loop_);
  transfer_ = std::move(other.transfer_);
  return *this;
}

HttpStream::~HttpStream() {
  if (!transfer_) return;
  if (const auto loop = loop_.lock()) loop->remove(*transfer_);
}

int HttpStream::status() const { return transfer_->response.status; }

const std::map<std::string, std::string>& HttpStream::headers() const {
  return transfer_->response.headers;
}

void HttpStream::set_pace(std::chrono::milliseconds pace) { transfer_->pace = pace; }

asio::awaitable<Result<std::string>> HttpStream::read_some(
    std::chrono::steady_clock::time_point deadline) {
  const std::shared_ptr<Transfer> transfer = transfer_;  // the stream may be moved while we wait
  for (;;) {
    if (!transfer->response.body.empty()) co_return std::exchange(transfer->response.body, {});
    if (transfer->done && transfer->result == CURLE_OK && !transfer->cancelled)
      co_return std::string();
    if (transfer->done) co_return transfer->failure();
    const auto woken = co_await transfer->changed.wait(deadline);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, transfer->request.url);
    if (woken == Event::Woken::Deadline)
      co_return fail(ETIMEDOUT, fmt::format("{} {}: silence", transfer->request.method,
                                            transfer->request.url));
  }
}

HttpClient::HttpClient(asio::io_context& io)
    : loop_(std::make_shared<CurlLoop>(io)), hosts_(std::make_shared<HostLookup>(io)) {}

HttpClient::~HttpClient() { loop_->close(); }

asio::awaitable<Result<HttpResponse>> HttpClient::request(HttpRequest request) {
  const std::shared_ptr<CurlLoop> loop = loop_;  // the client may be destroyed meanwhile
  auto found_at = co_await HostLookup::find(hosts_, request.url, request.connect_timeout);
  if (!found_at)
    co_return fail(found_at.error().code,
                   fmt::format("{} {}: {}", request.method, request.url, found_at.error().context));
  auto started = loop->start(std::move(request), false, *std::move(found_at));
  if (!started) co_return tl::unexpected(started.error());
  const std::shared_ptr<Transfer> transfer = *started;
  // Owns the transfer from here on: however this coroutine ends, curl lets go of it.
  const HttpStream owner(loop, transfer);
  while (!transfer->done) {
    const auto woken = co_await transfer->changed.wait();
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, transfer->request.url);
  }
  if (transfer->cancelled || transfer->result != CURLE_OK) co_return transfer->failure();
  co_return std::move(transfer->response);
}

asio::awaitable<Result<HttpStream>> HttpClient::open(HttpRequest request) {
  const auto deadline = std::chrono::steady_clock::now() + request.timeout;
  const std::shared_ptr<CurlLoop> loop = loop_;  // the client may be destroyed meanwhile
  auto found_at = co_await HostLookup::find(hosts_, request.url, request.connect_timeout);
  if (!found_at)
    co_return fail(found_at.error().code,
                   fmt::format("{} {}: {}", request.method, request.url, found_at.error().context));
  auto started = loop->start(std::move(request), true, *std::move(found_at));
  if (!started) co_return tl::unexpected(started.error());
  const std::shared_ptr<Transfer> transfer = *started;
  HttpStream stream(loop, transfer);
  while (!transfer->header_done && !transfer->done) {
    const auto woken = co_await transfer->changed.wait(deadline);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, transfer->request.url);
    if (woken == Event::Woken::Deadline)
      co_return fail(ETIMEDOUT, fmt::format("{} {}: no answer", transfer->request.method,
                                            transfer->request.url));
  }
  if (!transfer->header_done) co_return transfer->failure();
  co_return std::move(stream);
}

}  // namespace lb
