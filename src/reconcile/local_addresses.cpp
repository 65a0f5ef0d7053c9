#include "reconcile/local_addresses.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <set>

#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/unique_fd.h"
#include "reconcile/netlink.h"

namespace lb {
namespace {

std::optional<IpAddress> to_address(std::uint8_t family, std::span<const std::byte> bytes) {
  if (family == AF_INET && bytes.size() == 4) {
    std::uint32_t network = 0;
    std::memcpy(&network, bytes.data(), sizeof network);
    return IpAddress::v4(ntohl(network));
  }
  if (family == AF_INET6 && bytes.size() == 16) {
    std::array<std::uint8_t, 16> raw{};
    std::memcpy(raw.data(), bytes.data(), raw.size());
    return IpAddress::v6(raw);
  }
  return std::nullopt;
}

Result<UniqueFd> subscribe() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) return fail(errno, "open rtnetlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return fail(errno, "subscribe to address changes");
  return fd;
}

}  // namespace

// IFA_LOCAL is the host's own address on a point-to-point link, where IFA_ADDRESS is the peer's.
std::optional<IpAddress> parse_address(std::span<const std::byte> payload) {
  ifaddrmsg message{};
  if (payload.size() < sizeof message) return std::nullopt;
  std::memcpy(&message, payload.data(), sizeof message);
  std::optional<IpAddress> found;
  auto rest = payload.subspan(NLMSG_ALIGN(sizeof message));
  while (rest.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, rest.data(), sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > rest.size()) break;
    const auto value = rest.subspan(sizeof attribute, attribute.rta_len - sizeof attribute);
    if (attribute.rta_type == IFA_LOCAL) return to_address(message.ifa_family, value);
    if (attribute.rta_type == IFA_ADDRESS) found = to_address(message.ifa_family, value);
    rest = rest.subspan(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), rest.size()));
  }
  return found;
}

Result<std::vector<IpAddress>> read_local_addresses() {
  std::set<IpAddress> addresses;
  const ifaddrmsg request{};  // AF_UNSPEC: both families
  LB_CHECK(netlink_dump(NETLINK_ROUTE, RTM_GETADDR, std::as_bytes(std::span(&request, 1)),
                        [&](const nlmsghdr& header, std::span<const std::byte> payload) {
                          if (header.nlmsg_type != RTM_NEWADDR) return;
                          if (const auto address = parse_address(payload))
                            addresses.insert(*address);
                        }));
  return std::vector(addresses.begin(), addresses.end());
}

asio::awaitable<void> LocalAddresses::follow(Changed changed) {
  constexpr std::chrono::milliseconds kLongest{10'000};
  co_await asio::this_coro::throw_if_cancelled(false);
  asio::steady_timer timer(executor_);
  for (;;) {
    const Result<> ended = co_await watch(changed);
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none || ended) co_return;
    const std::string error = ended.error().message();
    if (error != problem_)
      spdlog::error("services on wildcard addresses do not follow the host's addresses: {}", error);
    problem_ = error;
    timer.expires_after(std::min(backoff_.next(0), kLongest));
    const auto [cancelled] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (cancelled) co_return;
  }
}

// Ends by an error only. It subscribes before it reads, so that no change can fall between the two.
asio::awaitable<Result<>> LocalAddresses::watch(const Changed& changed) {
  LB_CO_TRY(UniqueFd fd, subscribe());
  asio::posix::stream_descriptor socket(executor_, fd.release());
  std::array<std::byte, 8192> buffer{};
  for (;;) {
    LB_CO_TRY(std::vector<IpAddress> addresses, read_local_addresses());
    if (!problem_.empty()) spdlog::info("the host's addresses are followed again");
    problem_.clear();
    backoff_.reset();
    changed(std::move(addresses));
    const auto [error] = co_await socket.async_wait(asio::posix::stream_descriptor::wait_read,
                                                    asio::as_tuple(asio::use_awaitable));
    if (error) co_return fail(std::error_code(error), "watch address changes");
    // What the messages say does not matter, and ENOBUFS (some were lost) means the same as one.
    while (::recv(socket.native_handle(), buffer.data(), buffer.size(), 0) > 0) {
    }
  }
}

}  // namespace lb
