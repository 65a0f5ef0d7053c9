#include "tools/lbctl/local_sockets.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "base/file.h"

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
bool is_open(int state) {
  return state == TCP_ESTABLISHED || state == TCP_SYN_RECV || state == TCP_FIN_WAIT1 ||
         state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

// :: takes IPv4 as well; where it does not, someone else's 0.0.0.0 is asked.
bool covers(const Address& listener, const Address& at) {
  if (listener.port != at.port) return false;
  if (listener.ip == at.ip) return true;
  return listener.ip.is_unspecified() && (!listener.ip.is_v4() || at.ip.is_v4());
}

// "  0: 0100007F:1F57 00000000:0000 0A 00000000:00000000 ..."
void add_line(std::string_view line, const Address& at, SocketCount& out) {
  (void)take_word(line);
  const auto local = read_address(take_word(line));
  (void)take_word(line);
  const auto state = hex<std::uint8_t>(take_word(line));
  if (!local || !state) return;  // the heading
  if (*state == TCP_LISTEN && covers(*local, at)) out.listening = true;
  if (*local == at && is_open(*state)) ++out.open;
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

Result<SocketCount> count_sockets(const std::vector<Address>& at) {
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
