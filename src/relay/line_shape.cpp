#include "relay/line_shape.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"

namespace lb::relay {
namespace {

constexpr std::array<std::pair<std::string_view, Kind>, 11> kKinds{{{"hello", Kind::Hello},
                                                                    {"feed", Kind::Feed},
                                                                    {"ack", Kind::Ack},
                                                                    {"resync", Kind::Resync},
                                                                    {"counts", Kind::Counts},
                                                                    {"report", Kind::Report},
                                                                    {"snapshot", Kind::Snapshot},
                                                                    {"delta", Kind::Delta},
                                                                    {"orders", Kind::Orders},
                                                                    {"ping", Kind::Ping},
                                                                    {"bye", Kind::Goodbye}}};

bool only_of_listeners(Kind kind) {
  return kind == Kind::Feed || kind == Kind::Ack || kind == Kind::Resync || kind == Kind::Counts ||
         kind == Kind::Report;
}

bool only_of_updaters(Kind kind) { return kind == Kind::Snapshot || kind == Kind::Delta; }

bool is_small(Kind kind) {
  return kind == Kind::Feed || kind == Kind::Ack || kind == Kind::Resync || kind == Kind::Ping ||
         kind == Kind::Goodbye;
}

// Where the text that begins behind the quote at `at` ends: at its quote, or at the end of all.
std::size_t end_of_text(std::string_view line, std::size_t at) {
  for (std::size_t i = at + 1; i < line.size(); ++i) {
    if (line[i] == '\\')
      ++i;
    else if (line[i] == '"')
      return i;
  }
  return line.size();
}

}  // namespace

Kind kind_of(std::string_view type) {
  const auto found =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& k) { return k.first == type; });
  return found == kKinds.end() ? Kind::Unknown : found->second;
}

std::string_view name_of(Kind kind) {
  const auto found =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& k) { return k.second == kind; });
  return found == kKinds.end() ? "message" : found->first;
}

LineShape shape_of(std::string_view line) {
  LineShape out;
  int depth = 0;
  std::string_view text;  // the last one outside of all brackets but the first
  bool of_type = false;   // what comes is the value of "t"
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') {
      const std::size_t end = end_of_text(line, i);
      text = line.substr(i + 1, end - std::min(end, i + 1));
      if (depth == 1 && std::exchange(of_type, false)) {
        out.twice = out.twice || out.kind != Kind::None;
        out.kind = kind_of(text);
      }
      i = end;
    } else if (c == ':') {
      of_type = depth == 1 && text == "t";
    } else if (c == '[' || c == '{') {
      ++out.values;
      out.depth = std::max(out.depth, ++depth);
      of_type = false;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',') {
      ++out.values;
      of_type = false;
    }
  }
  return out;
}

std::size_t line_limit(From from) {
  return from == From::Listener ? limits::kListenerLine : limits::kUpdaterLine;
}

std::size_t line_limit(Kind kind, From from) {
  if (from == From::Listener && only_of_updaters(kind)) return 0;
  if (from == From::Updater && only_of_listeners(kind)) return 0;
  if (is_small(kind)) return limits::kSmallLine;
  if (from == From::Listener && kind == Kind::Hello) return limits::kHelloLine;
  if (kind == Kind::Orders) return limits::kListenerLine;
  return line_limit(from);
}

}  // namespace lb::relay
