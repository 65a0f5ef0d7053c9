#include "netns/etcd_api/fake_http.h"

#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace lb::etcd {

namespace asio = boost::asio;
using asio::ip::tcp;

struct FakeHttp::State {
  State(asio::io_context& io, std::string r, Then t)
      : reply(std::move(r)), then(t), acceptor(io, {asio::ip::address_v4::loopback(), 0}) {}
  std::string reply;
  Then then;
  tcp::acceptor acceptor;
  std::vector<std::string> asked;
  int hung_up = 0;

  static asio::awaitable<void> serve(std::shared_ptr<State> self, tcp::socket socket);
  static asio::awaitable<void> accept(std::shared_ptr<State> self);
};

asio::awaitable<void> FakeHttp::State::serve(std::shared_ptr<State> self, tcp::socket socket) {
  const auto token = asio::as_tuple(asio::use_awaitable);
  std::string request;
  const auto [failed, size] =
      co_await asio::async_read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", token);
  if (failed) co_return;
  self->asked.push_back(request.substr(0, request.find("\r\n")));
  const auto [unsent, sent] = co_await asio::async_write(socket, asio::buffer(self->reply), token);
  if (unsent || self->then == Then::Close) co_return;
  char byte = 0;
  for (;;) {
    const auto [gone, got] = co_await socket.async_read_some(asio::buffer(&byte, 1), token);
    if (!gone) continue;
    ++self->hung_up;
    co_return;
  }
}

asio::awaitable<void> FakeHttp::State::accept(std::shared_ptr<State> self) {
  for (;;) {
    auto [error, socket] =
        co_await self->acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    asio::co_spawn(self->acceptor.get_executor(), serve(self, std::move(socket)), asio::detached);
  }
}

FakeHttp::FakeHttp(asio::io_context& io, std::string reply, Then then)
    : state_(std::make_shared<State>(io, std::move(reply), then)) {
  asio::co_spawn(io, State::accept(state_), asio::detached);
}

FakeHttp::~FakeHttp() { state_->acceptor.close(); }

std::string FakeHttp::url() const {
  return fmt::format("http://127.0.0.1:{}", state_->acceptor.local_endpoint().port());
}

const std::vector<std::string>& FakeHttp::asked() const { return state_->asked; }
int FakeHttp::hung_up() const { return state_->hung_up; }

std::string FakeHttp::reply(const std::string& status, const std::string& headers,
                            const std::string& body) {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}", status, headers, body.size(),
                     body);
}

}  // namespace lb::etcd
