// IP addresses and ports as plain values. Host byte order everywhere: the kernel's order exists
// only in bpf/lb_abi.h and its conversions.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb {

using Port = std::uint16_t;

// One type for both families: an IPv4 address is held as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
class IpAddress {
 public:
  IpAddress() = default;  // "::"
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v6(const std::array<std::uint8_t, 16>& network_order);
  // "10.0.0.1", "::1", "::ffff:10.0.0.1" (which is 10.0.0.1). No names, no zone, no brackets.
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] bool is_loopback() const;     // 127.0.0.0/8 or ::1
  [[nodiscard]] bool is_unspecified() const;  // 0.0.0.0 or ::
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // network order, as in a packet
};

struct Address {
  IpAddress ip;
  Port port = 0;

  // "10.0.0.1:80", "[::1]:80". The port must be 1 to 65535.
  [[nodiscard]] static Result<Address> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const Address&) const = default;
};

// "host:port" with a name or an address in front, cut at the last colon; brackets around IPv6 go.
struct HostPort {
  std::string host;
  Port port = 0;

  [[nodiscard]] static Result<HostPort> parse(std::string_view text);
  auto operator<=>(const HostPort&) const = default;
};

}  // namespace lb
