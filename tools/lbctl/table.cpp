#include "tools/lbctl/table.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"

namespace lb::lbctl {
namespace {

constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kPlain = "\x1b[0m";

std::string_view colour_of(std::string_view word) {
  constexpr std::array<std::string_view, 4> kGood{"active", "ok", "yes", "balanced"};
  constexpr std::array<std::string_view, 6> kDoubtful{"unknown",   "draining", "last-resort",
                                                      "fail-open", "waiting",  "note"};
  constexpr std::array<std::string_view, 9> kBad{"down",        "exited",   "stale",
                                                 "disabled",    "conflict", "refused",
                                                 "no-backends", "failing",  "missing"};
  const auto has = [word](const auto& list) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  return has(kGood) ? kGreen : has(kDoubtful) ? kYellow : has(kBad) ? kRed : std::string_view();
}

// Characters, not bytes: continuation bytes of UTF-8 take no place.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
  }));
}

}  // namespace

std::string printable(std::string_view text) { return printable_text(text); }

std::string plural(std::uint64_t n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string human(std::chrono::milliseconds duration) {
  using namespace std::chrono;
  const auto s = duration_cast<seconds>(std::max(duration, milliseconds(0))).count();
  if (duration < seconds(1)) return fmt::format("{}ms", std::max<long>(0, duration.count()));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {}m", s / 3600, s % 3600 / 60);
  return fmt::format("{}d {}h", s / 86400, s % 86400 / 3600);
}

std::string age(const std::string& iso8601, SysTime now) {
  const auto since = parse_iso8601(iso8601);
  return since ? human(now - *since) : "-";
}

std::string coloured(std::string_view word, bool colour) {
  const std::string_view code = colour ? colour_of(word) : std::string_view();
  return code.empty() ? std::string(word) : fmt::format("{}{}{}", code, word, kPlain);
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : printable(cell);
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out, bool colour) const {
  if (rows_.empty()) return;
  std::vector<std::string> header;
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    header.push_back(columns_[i].name);
    widths.push_back(columns_[i].name.size());
    for (const auto& row : rows_) widths[i] = std::max(widths[i], width(row[i]));
  }
  print_row(out, header, widths, false);
  for (const auto& row : rows_) print_row(out, row, widths, colour);
}

void Table::print_row(std::ostream& out, const std::vector<std::string>& cells,
                      const std::vector<std::size_t>& widths, bool colour) const {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string space(widths[i] - width(cells[i]), ' ');
    const std::string text = coloured(cells[i], colour && columns_[i].is_state);
    const bool last = i + 1 == cells.size();
    if (i > 0) line += "  ";
    line += columns_[i].align == Align::Right ? space + text : text + (last ? "" : space);
  }
  out << line << '\n';
}

}  // namespace lb::lbctl
