#include "state/port_ranges.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lb {
namespace {

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Result<Port> parse_port(std::string_view text) {
  text = trim(text);
  unsigned value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || value == 0 || value > 65535)
    return fail(fmt::format("'{}' is not a port between 1 and 65535", text));
  return static_cast<Port>(value);
}

}  // namespace

Result<PortRanges> PortRanges::parse(std::string_view text) {
  PortRanges out;
  out.ranges_.clear();
  for (std::string_view rest = text;;) {
    const auto comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const auto dash = item.find('-');
    LB_TRY(const Port first, parse_port(item.substr(0, dash)));
    Port last = first;
    if (dash != std::string_view::npos) {
      LB_TRY(last, parse_port(item.substr(dash + 1)));
    }
    if (last < first) return fail(fmt::format("'{}' runs backwards", trim(item)));
    out.ranges_.push_back({first, last});
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  // One form for one meaning: comparing two values compares what they allow.
  std::sort(out.ranges_.begin(), out.ranges_.end());
  std::vector<Range> joined;
  for (const Range& range : out.ranges_) {
    if (!joined.empty() && range.first <= joined.back().last + 1)
      joined.back().last = std::max(joined.back().last, range.last);
    else
      joined.push_back(range);
  }
  out.ranges_ = std::move(joined);
  return out;
}

bool PortRanges::contains(Port port) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const Range& r) { return r.first <= port && port <= r.last; });
}

void PortRanges::exclude(Port port) {
  std::vector<Range> left;
  for (const Range& r : ranges_) {
    if (port < r.first || r.last < port) {
      left.push_back(r);
      continue;
    }
    if (r.first < port) left.push_back({r.first, static_cast<Port>(port - 1)});
    if (port < r.last) left.push_back({static_cast<Port>(port + 1), r.last});
  }
  if (!left.empty()) ranges_ = std::move(left);
}

std::string PortRanges::to_string() const {
  std::string out;
  for (const Range& range : ranges_) {
    if (!out.empty()) out += ',';
    out += range.first == range.last ? fmt::format("{}", range.first)
                                     : fmt::format("{}-{}", range.first, range.last);
  }
  return out;
}

}  // namespace lb
