#include "model/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lb {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Result<Port> parse_port(std::string_view text, std::string_view whole) {
  unsigned value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || value == 0 || value > 65535)
    return fail(fmt::format("'{}' has no port between 1 and 65535", whole));
  return static_cast<Port>(value);
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) {
  IpAddress out;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), out.bytes_.begin());
  for (unsigned i = 0; i < 4; ++i)
    out.bytes_[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return out;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& network_order) {
  IpAddress out;
  out.bytes_ = network_order;
  return out;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  // inet_pton would stop at a zero byte and call the front good.
  const std::string copy(text.find('\0') == std::string_view::npos ? text : "");
  in_addr four{};
  if (::inet_pton(AF_INET, copy.c_str(), &four) == 1) return v4(ntohl(four.s_addr));
  IpAddress out;
  if (::inet_pton(AF_INET6, copy.c_str(), out.bytes_.data()) == 1) return out;
  return fail(fmt::format("'{}' is not an IP address", text));
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin());
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto b) { return b == 0; }) &&
         bytes_[15] == 1;
}

bool IpAddress::is_unspecified() const {
  const auto from = is_v4() ? bytes_.begin() + 12 : bytes_.begin();
  return std::all_of(from, bytes_.end(), [](auto b) { return b == 0; });
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  const bool four = is_v4();
  ::inet_ntop(four ? AF_INET : AF_INET6, bytes_.data() + (four ? 12 : 0), text, sizeof text);
  return text;
}

Result<HostPort> HostPort::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return fail(fmt::format("'{}' is not of the form address:port", text));
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos)
    return fail(fmt::format("'{}': write an IPv6 address in brackets, [::1]:80", text));
  LB_TRY(Port port, parse_port(text.substr(colon + 1), text));
  return HostPort{std::string(host), port};
}

Result<Address> Address::parse(std::string_view text) {
  LB_TRY(HostPort parts, HostPort::parse(text));
  LB_TRY(IpAddress ip, IpAddress::parse(parts.host));
  return Address{ip, parts.port};
}

std::string Address::to_string() const {
  return ip.is_v4() ? fmt::format("{}:{}", ip.to_string(), port)
                    : fmt::format("[{}]:{}", ip.to_string(), port);
}

}  // namespace lb
