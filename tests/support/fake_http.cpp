#include "support/fake_http.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace lb::test {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Socket = std::shared_ptr<tcp::socket>;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

FakeRequest parse_head(const std::string& head) {
  FakeRequest out;
  std::istringstream lines(head);
  std::string line;
  std::getline(lines, line);
  std::istringstream(line) >> out.method >> out.path;
  while (std::getline(lines, line)) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto from = line.find_first_not_of(' ', colon + 1);
    const auto to = line.find_last_not_of('\r');
    out.headers[name] = from > to ? "" : line.substr(from, to - from + 1);
  }
  return out;
}

}  // namespace

struct FakeHttp::State : std::enable_shared_from_this<FakeHttp::State> {
  State(asio::io_context& context, Handler h)
      : io(context), acceptor(io, {asio::ip::address_v4::loopback(), 0}), handler(std::move(h)) {}

  asio::awaitable<void> accept() {
    const auto self = shared_from_this();
    for (;;) {
      const auto socket = std::make_shared<tcp::socket>(io);
      const auto [ec] = co_await acceptor.async_accept(*socket, kTuple);
      if (ec) co_return;
      sockets.push_back(socket);
      asio::co_spawn(io, serve(socket), asio::detached);
    }
  }

  // False when the client has gone.
  asio::awaitable<bool> read_request(Socket socket, std::string* buffer) {
    const auto [ec, size] =
        co_await asio::async_read_until(*socket, asio::dynamic_buffer(*buffer), "\r\n\r\n", kTuple);
    if (ec) co_return false;
    FakeRequest request = parse_head(buffer->substr(0, size));
    buffer->erase(0, size);
    const auto length = request.headers.find("content-length");
    const std::size_t body =
        length == request.headers.end() ? 0 : std::strtoul(length->second.c_str(), nullptr, 10);
    if (request.headers.contains("expect")) {
      const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      (void)co_await asio::async_write(*socket, asio::buffer(go_on), kTuple);
    }
    if (buffer->size() < body) {
      const auto left = asio::transfer_exactly(body - buffer->size());
      const auto [cut, n] =
          co_await asio::async_read(*socket, asio::dynamic_buffer(*buffer), left, kTuple);
      if (cut) co_return false;
    }
    request.body = buffer->substr(0, body);
    buffer->erase(0, body);
    requests.push_back(std::move(request));
    co_return true;
  }

  asio::awaitable<void> serve(Socket socket) {
    const auto self = shared_from_this();
    std::string buffer;
    for (;;) {
      const bool asked = co_await read_request(socket, &buffer);
      if (!asked) break;
      const FakeReply reply = handler(requests.back());
      const auto [ec, n] = co_await asio::async_write(*socket, asio::buffer(reply.bytes), kTuple);
      if (ec || reply.then == FakeReply::Then::Close) break;
      if (reply.then == FakeReply::Then::Hang) {
        hanging.push_back(socket);
        char more = 0;
        (void)co_await asio::async_read(*socket, asio::buffer(&more, 1), kTuple);
        std::erase(hanging, socket);
        break;
      }
    }
    boost::system::error_code ignored;
    socket->close(ignored);
  }

  void stop() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    for (const Socket& socket : sockets) socket->close(ignored);
  }

  asio::io_context& io;
  tcp::acceptor acceptor;
  Handler handler;
  std::vector<FakeRequest> requests;
  std::vector<Socket> sockets;
  std::vector<Socket> hanging;
};

FakeHttp::FakeHttp(asio::io_context& io, Handler handler)
    : state_(std::make_shared<State>(io, std::move(handler))) {
  asio::co_spawn(io, state_->accept(), asio::detached);
}

FakeHttp::~FakeHttp() { state_->stop(); }

std::string FakeHttp::url() const {
  return fmt::format("http://127.0.0.1:{}", state_->acceptor.local_endpoint().port());
}

const std::vector<FakeRequest>& FakeHttp::requests() const { return state_->requests; }

int FakeHttp::count(const std::string& path) const {
  return static_cast<int>(std::count_if(requests().begin(), requests().end(),
                                        [&](const auto& one) { return one.path == path; }));
}

std::size_t FakeHttp::hanging() const { return state_->hanging.size(); }

void FakeHttp::push(const std::string& bytes) {
  for (const Socket& socket : state_->hanging) {
    boost::system::error_code ignored;
    asio::write(*socket, asio::buffer(bytes), ignored);
  }
}

FakeReply answer(int status, const std::string& body, const std::string& type) {
  return {fmt::format("HTTP/1.1 {} Fake\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
                      status, type, body.size(), body)};
}

FakeReply stream(const std::string& first, FakeReply::Then then) {
  return {
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
          (first.empty() ? "" : chunk(first)),
      then};
}

std::string chunk(const std::string& bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace lb::test
