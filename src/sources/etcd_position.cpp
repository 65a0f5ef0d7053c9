#include "sources/etcd_position.h"

#include <charconv>

#include <fmt/format.h>

namespace lb {
namespace {

template <class Int>
bool read_number(std::string_view text, Int& out) {
  const char* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, out);
  return ec == std::errc{} && at == end;
}

std::optional<EtcdPosition> parse_position(std::string_view text) {
  EtcdPosition out;
  if (text.starts_with("v2/"))
    out.api = etcd::ApiVersion::V2;
  else if (!text.starts_with("v3/"))
    return std::nullopt;
  text.remove_prefix(3);
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || !read_number(text.substr(0, colon), out.header.cluster) ||
      !read_number(text.substr(colon + 1), out.header.revision))
    return std::nullopt;
  return out;
}

}  // namespace

std::string format_positions(const EtcdPositions& positions) {
  std::string out;
  for (const auto& [prefix, position] : positions)
    out += fmt::format("{}{}={}/{}:{}", out.empty() ? "" : " ", prefix,
                       position.api == etcd::ApiVersion::V2 ? "v2" : "v3", position.header.cluster,
                       position.header.revision);
  return out;
}

EtcdPositions parse_positions(std::string_view text) {
  EtcdPositions out;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const auto equals = one.rfind('=');
    if (equals == std::string_view::npos) continue;
    if (const auto position = parse_position(one.substr(equals + 1)))
      out.emplace(one.substr(0, equals), *position);
  }
  return out;
}

std::optional<EtcdPosition> position_of(const EtcdPositions& positions, const std::string& prefix) {
  const auto it = positions.find(prefix);
  return it == positions.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace lb
