// Text for people: aligned columns, colours of states, times as "3m 20s". Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace lb::lbctl {

// What a source calls a backend may hold anything; a terminal must not obey it.
[[nodiscard]] std::string printable(std::string_view text);

// "1 backend", "2 backends".
[[nodiscard]] std::string plural(std::uint64_t n, std::string_view noun);
// "350ms", "45s", "3m 20s", "5h 2m", "12d 4h": two units at most.
[[nodiscard]] std::string human(std::chrono::milliseconds duration);
// The time since an ISO 8601 text, "-" when it is none.
[[nodiscard]] std::string age(const std::string& iso8601, SysTime now);

// The word in the colour of what it says about traffic; as it is without colour or meaning.
[[nodiscard]] std::string coloured(std::string_view word, bool colour);

class Table {
 public:
  enum class Align { Left, Right };
  struct Column {
    std::string name;
    Align align = Align::Left;
    bool is_state = false;  // colour its words
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns; an empty cell prints "-", so that every row splits into columns.
  void add(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Nothing at all when there are no rows.
  void print(std::ostream& out, bool colour) const;

 private:
  void print_row(std::ostream& out, const std::vector<std::string>& cells,
                 const std::vector<std::size_t>& widths, bool colour) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lb::lbctl
