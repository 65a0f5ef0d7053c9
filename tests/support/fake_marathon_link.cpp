#include "support/fake_marathon_link.h"

#include <sys/socket.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace lb::test {
namespace {

using asio::ip::tcp;
constexpr auto kLinkTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kChunkAbove = 32 * 1024;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string decode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::strtoul(text.substr(i + 1, 2).c_str(), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

void parse_target(MarathonRequest& request) {
  const auto question = request.target.find('?');
  request.path = request.target.substr(0, question);
  if (question == std::string::npos) return;
  std::istringstream parts(request.target.substr(question + 1));
  for (std::string part; std::getline(parts, part, '&');) {
    const auto equals = part.find('=');
    request.query.emplace(decode(part.substr(0, equals)),
                          equals == std::string::npos ? "" : decode(part.substr(equals + 1)));
  }
}

MarathonRequest parse_head(const std::string& head) {
  MarathonRequest out;
  std::istringstream lines(head);
  std::string line;
  std::getline(lines, line);
  std::istringstream(line) >> out.method >> out.target;
  while (std::getline(lines, line)) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto from = line.find_first_not_of(' ', colon + 1);
    const auto to = line.find_last_not_of('\r');
    out.headers[lower(line.substr(0, colon))] =
        from == std::string::npos || from > to ? "" : line.substr(from, to - from + 1);
  }
  parse_target(out);
  return out;
}

}  // namespace

MarathonLink::MarathonLink(tcp::socket socket, asio::ssl::context* tls) {
  boost::system::error_code ignored;
  if (socket.is_open()) socket.set_option(tcp::no_delay(true), ignored);
  if (tls != nullptr)
    tls_ = std::make_unique<Tls>(std::move(socket), *tls);
  else
    plain_ = std::make_unique<tcp::socket>(std::move(socket));
}

asio::awaitable<bool> MarathonLink::handshake(bool as_server) {
  if (!tls_) co_return true;
  const auto [ec] = co_await tls_->async_handshake(
      as_server ? asio::ssl::stream_base::server : asio::ssl::stream_base::client, kLinkTuple);
  co_return !ec;
}

asio::awaitable<bool> MarathonLink::write(std::string bytes) {
  if (tls_) {
    const auto [ec, n] = co_await asio::async_write(*tls_, asio::buffer(bytes), kLinkTuple);
    co_return !ec;
  }
  const auto [ec, n] = co_await asio::async_write(*plain_, asio::buffer(bytes), kLinkTuple);
  co_return !ec;
}

asio::awaitable<bool> MarathonLink::read_more(std::string* buffer) {
  std::array<char, 16384> piece{};
  std::size_t size = 0;
  if (tls_) {
    const auto [ec, n] = co_await tls_->async_read_some(asio::buffer(piece), kLinkTuple);
    if (ec) co_return false;
    size = n;
  } else {
    const auto [ec, n] = co_await plain_->async_read_some(asio::buffer(piece), kLinkTuple);
    if (ec) co_return false;
    size = n;
  }
  buffer->append(piece.data(), size);
  co_return true;
}

void MarathonLink::half_close() {
  boost::system::error_code ignored;
  tcp().shutdown(tcp::socket::shutdown_send, ignored);
}

void MarathonLink::close() {
  boost::system::error_code ignored;
  tcp().shutdown(tcp::socket::shutdown_both, ignored);
  tcp().close(ignored);
}

void MarathonLink::reset() {
  boost::system::error_code ignored;
  tcp().set_option(asio::socket_base::linger(true, 0), ignored);
  tcp().close(ignored);
}

asio::awaitable<bool> read_request(LinkPtr link, std::string* buffer, MarathonRequest* out) {
  std::size_t end = 0;
  while ((end = buffer->find("\r\n\r\n")) == std::string::npos) {
    const bool more = co_await link->read_more(buffer);
    if (!more) co_return false;
  }
  *out = parse_head(buffer->substr(0, end + 2));
  buffer->erase(0, end + 4);
  const std::size_t length = std::strtoul(out->header("content-length").c_str(), nullptr, 10);
  while (buffer->size() < length) {
    const bool more = co_await link->read_more(buffer);
    if (!more) co_return false;
  }
  out->body = buffer->substr(0, length);
  buffer->erase(0, length);
  co_return true;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflateInit2");
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

std::string to_bytes(const MarathonReply& reply, bool zipped) {
  std::string out =
      fmt::format("HTTP/1.1 {} Marathon\r\nContent-Type: {}\r\n", reply.status, reply.type);
  out += "Server: Jetty(9.4.8)\r\n";
  for (const std::string& header : reply.headers) out += header + "\r\n";
  const std::string body = zipped ? gzip(reply.body) : reply.body;
  if (zipped) out += "Content-Encoding: gzip\r\n";
  if (body.size() <= kChunkAbove)
    return out + fmt::format("Content-Length: {}\r\n\r\n", body.size()) + body;
  out += "Transfer-Encoding: chunked\r\n\r\n";
  out.reserve(out.size() + body.size() + body.size() / 1024);
  for (std::size_t at = 0; at < body.size(); at += kChunkAbove) {
    const std::size_t size = std::min(kChunkAbove, body.size() - at);
    out += fmt::format("{:x}\r\n", size);
    out.append(body, at, size);
    out += "\r\n";
  }
  return out + "0\r\n\r\n";
}

}  // namespace lb::test
