#include "tools/lbctl/acceptor.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "tools/lbctl/local_sockets.h"

namespace lb::lbctl {
namespace {

using asio::ip::tcp;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

constexpr auto kLongestConnect = 1s;  // a full backlog drops the SYN: that is no answer
constexpr auto kLongestLookUp = 5s;
constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

tcp::endpoint to_endpoint(const Address& address) {
  const auto& bytes = address.ip.bytes();
  if (!address.ip.is_v4()) return {asio::ip::address_v6(bytes), address.port};
  asio::ip::address_v4::bytes_type four{};
  std::copy(bytes.begin() + 12, bytes.end(), four.begin());
  return {asio::ip::address_v4(four), address.port};
}

IpAddress from_address(const asio::ip::address& address) {
  return address.is_v4() ? IpAddress::v4(address.to_v4().to_uint())
                         : IpAddress::v6(address.to_v6().to_bytes());
}

Result<std::vector<Address>> local_ones(const std::vector<Address>& all) {
  std::vector<Address> out;
  for (const Address& address : all) {
    LB_TRY(const bool local, is_local(address.ip));
    if (local) out.push_back(address);
  }
  return out;
}

}  // namespace

std::string Acceptor::text() const { return fmt::format("{}:{}", address_.host, address_.port); }

asio::awaitable<Result<std::vector<Address>>> Acceptor::look_up() {
  if (const auto ip = IpAddress::parse(address_.host))
    co_return std::vector<Address>{{*ip, address_.port}};
  tcp::resolver resolver(io_);
  asio::steady_timer timer(io_, kLongestLookUp);
  auto answer = resolver.async_resolve(address_.host, "", kAsTuple);
  auto limit = timer.async_wait(kAsTuple);
  auto winner = co_await (std::move(answer) || std::move(limit));
  if (winner.index() == 1) co_return fail(ETIMEDOUT, "look up " + address_.host);
  const auto& [ec, found] = std::get<0>(winner);
  if (ec) co_return fail(ec, "look up " + address_.host);
  std::vector<Address> out;
  for (const auto& entry : found)
    out.push_back({from_address(entry.endpoint().address()), address_.port});
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  co_return out;
}

asio::awaitable<Result<std::vector<Address>>> Acceptor::addresses() {
  auto found = co_await look_up();
  if (found) known_ = *found;
  if (known_.empty()) co_return found;
  co_return known_;
}

asio::awaitable<Result<>> Acceptor::connect(Address to) {
  tcp::socket socket(io_);
  asio::steady_timer timer(io_, kLongestConnect);
  auto connected = socket.async_connect(to_endpoint(to), kAsTuple);
  auto limit = timer.async_wait(kAsTuple);
  auto winner = co_await (std::move(connected) || std::move(limit));
  if (winner.index() == 1) co_return fail(ETIMEDOUT, "connect to " + to.to_string());
  const auto& [ec] = std::get<0>(winner);
  if (ec) co_return fail(ec, "connect to " + to.to_string());
  co_return Result<>{};
}

asio::awaitable<Result<>> Acceptor::accepts() {
  LB_CO_TRY(const std::vector<Address> all, co_await addresses());
  Result<> last = fail(ENOENT, text());
  for (const Address& address : all) {
    last = co_await connect(address);
    if (last) break;
  }
  co_return last;
}

asio::awaitable<Result<bool>> Acceptor::local() {
  LB_CO_TRY(const std::vector<Address> all, co_await addresses());
  LB_CO_TRY(const std::vector<Address> ours, local_ones(all));
  co_return !ours.empty();
}

asio::awaitable<Result<Left>> Acceptor::left(bool must_listen) {
  LB_CO_TRY(const std::vector<Address> all, co_await addresses());
  LB_CO_TRY(const std::vector<Address> ours, local_ones(all));
  Left out;
  if (ours.empty()) {
    out.unknown = fmt::format(
        "{} is no address of this machine, so its connections cannot be counted here (--state "
        "PREFIX lets lbd tell)",
        text());
    co_return out;
  }
  LB_CO_TRY(const SocketCount count, count_sockets(ours));
  if (must_listen && !count.listening && count.open == 0)
    out.unknown = fmt::format(
        "no socket of this network namespace listens at {}, so its connections are elsewhere "
        "(--state PREFIX lets lbd tell)",
        text());
  out.connections = count.open;
  co_return out;
}

}  // namespace lb::lbctl
