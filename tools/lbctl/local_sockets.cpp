#include "tools/lbctl/local_sockets.h"

#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "reconcile/netlink.h"

namespace lb::lbctl {
namespace {

template <class Int>
std::optional<Int> hex(std::string_view text) {
  Int value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view take_word(std::string_view& line) {
  const auto begin = line.find_first_not_of(' ');
  if (begin == std::string_view::npos) return line = {};
  line.remove_prefix(begin);
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

// "0100007F:1F57": each 32-bit word of the address is printed as a number of this machine, while its
// bytes are in network order.
std::optional<Address> read_address(std::string_view text) {
  const auto colon = text.find(':');
  if (colon != 8 && colon != 32) return std::nullopt;
  const auto port = hex<Port>(text.substr(colon + 1));
  if (!port) return std::nullopt;
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < colon / 8; ++i) {
    const auto word = hex<std::uint32_t>(text.substr(i * 8, 8));
    if (!word) return std::nullopt;
    std::memcpy(bytes.data() + i * 4, &*word, 4);
  }
  if (colon == 32) return Address{IpAddress::v6(bytes), *port};
  std::uint32_t four = 0;
  std::memcpy(&four, bytes.data(), 4);
  return Address{IpAddress::v4(ntohl(four)), *port};
}

// FIN_WAIT2 and TIME_WAIT have nothing left to send.
constexpr std::uint32_t kOpen = 1U << TCP_ESTABLISHED | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 |
                                1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING;
constexpr unsigned kStates = 32;

// :: takes IPv4 as well; where it does not, someone else's 0.0.0.0 is asked.
bool covers(const Address& listener, const Address& at) {
  if (listener.port != at.port) return false;
  if (listener.ip == at.ip) return true;
  return listener.ip.is_unspecified() && (!listener.ip.is_v4() || at.ip.is_v4());
}

void add(const Address& local, unsigned state, const Address& at, SocketCount& out) {
  if (state == TCP_LISTEN && covers(local, at)) out.listening = true;
  if (local == at && state < kStates && (kOpen >> state & 1U) != 0) ++out.open;
}

// "  0: 0100007F:1F57 00000000:0000 0A 00000000:00000000 ..."
void add_line(std::string_view line, const Address& at, SocketCount& out) {
  (void)take_word(line);
  const auto local = read_address(take_word(line));
  (void)take_word(line);
  const auto state = hex<std::uint8_t>(take_word(line));
  if (local && state) add(*local, *state, at, out);  // else the heading
}

// The kernel leaves out other ports and what is over: a busy server has tens of thousands of sockets in
// TIME_WAIT, each of them a line of /proc/net/tcp.
Result<> dump(std::uint8_t family, const Address& at, SocketCount& out) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = kOpen | 1U << TCP_LISTEN;
  request.id.idiag_sport = htons(at.port);
  return netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)),
                      [&](const nlmsghdr&, std::span<const std::byte> payload) {
                        out += count_socket(payload, at);
                      });
}

Result<SocketCount> ask_sock_diag(const std::vector<Address>& at) {
  SocketCount out;
  for (const Address& address : at)
    for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}})
      LB_CHECK(dump(family, address, out));
  return out;
}

}  // namespace

SocketCount& SocketCount::operator+=(const SocketCount& other) {
  open += other.open;
  listening = listening || other.listening;
  return *this;
}

SocketCount count_sockets(std::string_view table, const Address& at) {
  SocketCount out;
  while (!table.empty()) {
    const auto end = table.find('\n');
    add_line(table.substr(0, end), at, out);
    table.remove_prefix(end == std::string_view::npos ? table.size() : end + 1);
  }
  return out;
}

SocketCount count_socket(std::span<const std::byte> inet_diag, const Address& at) {
  inet_diag_msg message{};
  SocketCount out;
  if (inet_diag.size() < sizeof message) return out;
  std::memcpy(&message, inet_diag.data(), sizeof message);
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), message.id.idiag_src, bytes.size());
  const IpAddress ip = message.idiag_family == AF_INET
                           ? IpAddress::v4(ntohl(message.id.idiag_src[0]))
                           : IpAddress::v6(bytes);
  add({ip, ntohs(message.id.idiag_sport)}, message.idiag_state, at, out);
  return out;
}

Result<SocketCount> count_sockets(const std::vector<Address>& at) {
  // A container's kernel may not have the module, or a policy may forbid the socket.
  if (auto counted = ask_sock_diag(at)) return counted;
  LB_TRY(const std::string four, read_file("/proc/net/tcp"));
  auto six = read_file("/proc/net/tcp6");
  // A kernel without IPv6 has no such file.
  if (!six && six.error().code.value() != ENOENT) return tl::unexpected(six.error());
  SocketCount out;
  for (const Address& address : at) {
    out += count_sockets(four, address);
    if (six) out += count_sockets(*six, address);
  }
  return out;
}

Result<bool> is_local(const IpAddress& ip) {
  if (ip.is_loopback()) return true;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return fail(errno, "list this machine's addresses");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  for (const ifaddrs* it = list; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr) continue;
    if (it->ifa_addr->sa_family == AF_INET) {
      sockaddr_in name{};
      std::memcpy(&name, it->ifa_addr, sizeof name);
      if (IpAddress::v4(ntohl(name.sin_addr.s_addr)) == ip) return true;
    } else if (it->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 name{};
      std::memcpy(&name, it->ifa_addr, sizeof name);
      std::array<std::uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), &name.sin6_addr, bytes.size());
      if (IpAddress::v6(bytes) == ip) return true;
    }
  }
  return false;
}

}  // namespace lb::lbctl
