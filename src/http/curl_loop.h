// libcurl's multi handle on asio. Private to http/: the public face is client.h.
#pragma once

#include <curl/curl.h>

#include <array>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/event.h"
#include "http/client.h"

namespace lb {

struct CurlEasyDelete {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CurlMultiDelete {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct CurlListDelete {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyDelete>;
using CurlMulti = std::unique_ptr<CURLM, CurlMultiDelete>;
using CurlList = std::unique_ptr<curl_slist, CurlListDelete>;

// One request and what has come back so far. curl holds pointers into it, so it never moves.
struct Transfer {
  Transfer(const asio::any_io_executor& executor, HttpRequest r, bool is_stream, std::string at)
      : request(std::move(r)), stream(is_stream), found_at(std::move(at)), changed(executor) {}

  HttpRequest request;   // curl reads the body from here
  bool stream;           // body is handed over piece by piece
  std::string found_at;  // "host:port:address,address" for CURLOPT_RESOLVE; "": curl needs no name
  HttpResponse response;
  bool header_done = false;
  bool done = false;
  bool added = false;  // the multi handle knows `easy`
  bool overflow = false;
  bool cancelled = false;  // the client was destroyed
  std::chrono::milliseconds pace{0};
  CURLcode result = CURLE_OK;
  std::array<char, CURL_ERROR_SIZE> error_text{};
  Event changed;
  CurlList headers, hosts;
  CurlEasy easy;  // last: cleaned up before what it points to

  [[nodiscard]] tl::unexpected<Error> failure() const;
};

// Lifetime: HttpClient owns the loop; handlers of asio hold it weakly, streams too. The callbacks
// of curl run inside curl_multi_* calls and therefore never call curl and never resume a coroutine.
class CurlLoop : public std::enable_shared_from_this<CurlLoop> {
 public:
  explicit CurlLoop(asio::io_context& io);
  ~CurlLoop() { close(); }
  CurlLoop(const CurlLoop&) = delete;
  CurlLoop& operator=(const CurlLoop&) = delete;

  [[nodiscard]] Result<std::shared_ptr<Transfer>> start(HttpRequest request, bool stream,
                                                        std::string found_at);
  // Idempotent; afterwards curl does not know the transfer any more.
  void remove(Transfer& transfer) noexcept;
  // Ends every transfer with ECANCELED.
  void close() noexcept;

 private:
  // A socket of curl's, watched for it. curl owns the descriptor: released here, never closed.
  struct Watch {
    Watch(asio::io_context& io, curl_socket_t socket) : fd(socket), descriptor(io), pause(io) {}
    curl_socket_t fd;
    asio::posix::stream_descriptor descriptor;
    int want = 0;
    bool reading = false;
    bool writing = false;
    std::weak_ptr<Transfer> transfer;  // whose connection it is now
    asio::steady_timer pause;
  };

  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* watch) noexcept;
  static int on_timer(CURLM* multi, long timeout_ms, void* self) noexcept;

  int watch_socket(CURL* easy, curl_socket_t fd, int what) noexcept;
  void arm(const std::shared_ptr<Watch>& watch);
  void arm_one(const std::shared_ptr<Watch>& watch, bool read);
  void wait(const std::shared_ptr<Watch>& watch, bool read);
  void action(curl_socket_t fd, int events);
  void drain_messages();

  asio::io_context& io_;
  asio::steady_timer timer_;
  std::map<curl_socket_t, std::shared_ptr<Watch>> watches_;
  std::map<CURL*, std::shared_ptr<Transfer>> transfers_;
  CurlMulti multi_;  // last: its cleanup calls on_socket for connections that are still open
};

}  // namespace lb
