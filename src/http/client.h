// HTTP client: libcurl's multi interface driven by the one io_context. Knows nothing of sources.
//
// Proxy variables of the environment are ignored: what lbd talks to is named in its configuration,
// and a proxy must never see requests that are meant for loopback. No redirects, HTTP/1.1 only.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/result.h"

namespace lb {

namespace asio = boost::asio;

struct HttpTls {
  std::string ca;    // PEM file; empty: the system's authorities
  std::string cert;  // client certificate and its key, PEM files; empty: none
  std::string key;

  bool operator==(const HttpTls&) const = default;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds timeout{
      10000};  // whole exchange; of a stream: until its header is here
  HttpTls tls;
  std::string username;  // basic authentication when not empty
  std::string password;
  std::size_t max_body = std::size_t{64} << 20;  // of a stream: what may wait unread
  bool gzip = false;  // may be answered compressed; max_body counts what comes out
  // A connection of its own, which lbd's hooks leave alone: base/direct_socket.h.
  bool direct = false;
};

struct HttpResponse {
  int status = 0;
  // Names in lower case; the last of equal names wins, but cookies are joined by commas.
  std::map<std::string, std::string> headers;
  std::string body;
};

class CurlLoop;
class HostLookup;
struct Transfer;

// A response whose body goes on arriving, an etcd watch for example. Destroying it closes the
// connection. One read at a time; cancelling a read loses nothing, what arrived meanwhile is
// returned by the next one.
class HttpStream {
 public:
  HttpStream(HttpStream&&) noexcept;
  HttpStream& operator=(HttpStream&&) noexcept;
  ~HttpStream();

  [[nodiscard]] int status() const;
  [[nodiscard]] const std::map<std::string, std::string>& headers() const;

  // Whatever has arrived, at least one byte; "" is the orderly end of the body. A connection that
  // broke is an error, but only after everything that came before has been returned. ETIMEDOUT at
  // the deadline; the stream goes on.
  asio::awaitable<Result<std::string>> read_some(std::chrono::steady_clock::time_point deadline =
                                                     std::chrono::steady_clock::time_point::max());

  // The connection is left alone for so long after each read, so that what trickles in is handled
  // together. 0, as at the start: it is read at once.
  void set_pace(std::chrono::milliseconds pace);

 private:
  friend class HttpClient;
  HttpStream(std::weak_ptr<CurlLoop> loop, std::shared_ptr<Transfer> transfer);

  std::weak_ptr<CurlLoop> loop_;
  std::shared_ptr<Transfer> transfer_;
};

// Connections are kept alive and shared by all requests of one client. The client may be destroyed
// while requests run: they end with ECANCELED.
class HttpClient {
 public:
  explicit HttpClient(asio::io_context& io);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any HTTP status is a success here; an error means that there is no complete answer. Its code is
  // an errno value: ECONNREFUSED, ETIMEDOUT, ECONNRESET (truncated), EMSGSIZE (max_body),
  // EPROTO (TLS or HTTP), EHOSTUNREACH (name not found) and so on.
  asio::awaitable<Result<HttpResponse>> request(HttpRequest request);

  // Returns once the header is here.
  asio::awaitable<Result<HttpStream>> open(HttpRequest request);

 private:
  std::shared_ptr<CurlLoop> loop_;
  std::shared_ptr<HostLookup> hosts_;
};

}  // namespace lb
