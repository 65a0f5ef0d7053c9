// One connection of a fake Marathon, plain or TLS, and HTTP over it as far as tests need it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

namespace lb::test {

namespace asio = boost::asio;

class MarathonLink {
 public:
  // With a context: TLS, after handshake().
  MarathonLink(asio::ip::tcp::socket socket, asio::ssl::context* tls);

  asio::awaitable<bool> handshake(bool as_server);
  // False when the other side has gone.
  asio::awaitable<bool> write(std::string bytes);
  asio::awaitable<bool> read_more(std::string* buffer);
  void half_close();
  void close();
  void reset();  // RST instead of FIN

 private:
  using Tls = asio::ssl::stream<asio::ip::tcp::socket>;
  [[nodiscard]] asio::ip::tcp::socket& tcp() { return tls_ ? tls_->next_layer() : *plain_; }
  std::unique_ptr<asio::ip::tcp::socket> plain_;
  std::unique_ptr<Tls> tls_;
};
using LinkPtr = std::shared_ptr<MarathonLink>;

struct MarathonRequest {
  std::string method, target;                     // "GET", "/v2/apps?embed=apps.tasks"
  std::string path;                               // without the query
  std::multimap<std::string, std::string> query;  // decoded
  std::map<std::string, std::string> headers;     // names in lower case
  std::string body;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

// False when there is no further one. `buffer` holds what was read too far.
asio::awaitable<bool> read_request(LinkPtr link, std::string* buffer, MarathonRequest* out);

struct MarathonReply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::string> headers;  // more of them, "Name: value"
};

std::string gzip(const std::string& text);
// As Jetty writes it: large bodies in chunks.
std::string to_bytes(const MarathonReply& reply, bool zipped);

}  // namespace lb::test
