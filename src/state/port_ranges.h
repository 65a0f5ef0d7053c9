// Which service ports a source may claim. A value, read from the configuration.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "model/address.h"

namespace lb {

class PortRanges {
 public:
  PortRanges() = default;  // every port
  // "1-65535", "443", "80,443,1000-2000"; blanks around numbers are allowed.
  [[nodiscard]] static Result<PortRanges> parse(std::string_view text);

  [[nodiscard]] bool contains(Port port) const;
  // The last port of all stays.
  void exclude(Port port);
  [[nodiscard]] std::string to_string() const;  // sorted, joined: "80,443,1000-2000"

  bool operator==(const PortRanges&) const = default;

 private:
  struct Range {
    Port first = 1;
    Port last = 65535;
    auto operator<=>(const Range&) const = default;
  };
  std::vector<Range> ranges_ =
      std::vector<Range>(1);  // sorted, disjoint, not adjacent, never empty
};

}  // namespace lb
