#include "dataplane/ipvs_connections.h"

#include <array>
#include <charconv>
#include <optional>

#include "base/file.h"

namespace lb {
namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 30;

std::string_view next_word(std::string_view& line) {
  const auto begin = line.find_first_not_of(' ');
  if (begin == std::string_view::npos) return line = {};
  const auto end = std::min(line.find(' ', begin), line.size());
  const auto word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

std::optional<std::uint32_t> hex(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// "7F000001", or eight groups with a zero for each digit left out: "0000:...:0001".
std::optional<IpAddress> address_of(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto value = hex(text);
    return value && text.size() == 8 ? std::optional(IpAddress::v4(*value)) : std::nullopt;
  }
  std::array<std::uint8_t, 16> raw{};
  for (std::size_t group = 0; group < 8; ++group) {
    const auto end = std::min(text.find(':'), text.size());
    const auto value = hex(text.substr(0, end));
    if (!value || *value > 0xffff) return std::nullopt;
    raw.at(2 * group) = static_cast<std::uint8_t>(*value >> 8);
    raw.at(2 * group + 1) = static_cast<std::uint8_t>(*value);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return text.empty() ? std::optional(IpAddress::v6(raw)) : std::nullopt;
}

std::optional<Address> next_address(std::string_view& line) {
  const auto ip = address_of(next_word(line));
  const auto port = hex(next_word(line));
  if (!ip || !port || *port > 0xffff) return std::nullopt;
  return Address{*ip, static_cast<Port>(*port)};
}

std::optional<IpvsConnection> parse_line(std::string_view line) {
  IpvsConnection out;
  const auto protocol = next_word(line);
  if (protocol != "TCP" && protocol != "UDP") return std::nullopt;
  out.protocol = protocol == "TCP" ? Protocol::Tcp : Protocol::Udp;
  const auto client = next_address(line);
  const auto service = next_address(line);
  const auto server = next_address(line);
  if (!client || !service || !server) return std::nullopt;
  out.client = *client;
  out.service = *service;
  out.server = *server;
  out.state = next_word(line);
  return out;
}

}  // namespace

std::vector<IpvsConnection> parse_ipvs_connections(std::string_view text) {
  std::vector<IpvsConnection> out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (auto connection = parse_line(text.substr(0, end))) out.push_back(*std::move(connection));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

Result<std::vector<IpvsConnection>> read_ipvs_connections() {
  LB_TRY(const std::string text, read_file("/proc/net/ip_vs_conn", kLargestFile));
  return parse_ipvs_connections(text);
}

}  // namespace lb
