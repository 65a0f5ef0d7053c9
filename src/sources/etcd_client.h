// etcd's v3 JSON gateway over HTTP: one range, one watch, one endpoint at a time. Knows no schema
// and does not retry.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "http/client.h"
#include "sources/etcd_codec.h"

namespace lb::etcd {

struct Access {
  HttpTls tls;
  std::string username;
  std::string password;
};

// The messages of one watch connection, in order.
class Watch {
 public:
  explicit Watch(HttpStream stream) : stream_(std::move(stream)), lines_(kMaxMessage) {}

  // Everything that has arrived, at least one message. A stream that ends is an error: etcd ends
  // none in an orderly way.
  asio::awaitable<Result<std::vector<WatchMessage>>> read(
      std::chrono::steady_clock::time_point deadline =
          std::chrono::steady_clock::time_point::max());

 private:
  static constexpr std::size_t kMaxMessage = std::size_t{64} << 20;
  HttpStream stream_;
  LineSplitter lines_;
};

class Client {
 public:
  Client(HttpClient& http, Access access) : http_(http), access_(std::move(access)) {}

  // Linearizable, hence refused at once by a member without quorum.
  asio::awaitable<Result<RangeResponse>> range(std::string endpoint, std::string prefix);
  // Returns when the header is here; the `created` messages are still to come.
  asio::awaitable<Result<Watch>> watch(std::string endpoint, std::vector<WatchRequest> watches);

 private:
  [[nodiscard]] HttpRequest post(const std::string& endpoint, const char* path,
                                 std::string body) const;

  HttpClient& http_;
  Access access_;
};

}  // namespace lb::etcd
