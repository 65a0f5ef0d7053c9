// Where the backends of a source may be: `backends` of a [[source]]. A value.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/address.h"

namespace lb {

// Addresses that mean another machine wherever they are used, which no list of services has a use for: cloud metadata services are at
// 169.254.169.254. "" for any other.
[[nodiscard]] std::string_view why_special(const IpAddress& address);

class BackendRanges {
 public:
  // Any address; of a source whose writer decides for this host.
  [[nodiscard]] static BackendRanges any();
  // Any but special ones; of a source that others write.
  [[nodiscard]] static BackendRanges usual();
  // "10.0.0.0/8", "fd00::/8", or an address.
  [[nodiscard]] Result<> add(std::string_view prefix);

  // Why a backend there is refused, a part of a sentence; "" when it is allowed.
  [[nodiscard]] std::string why_refused(const IpAddress& address) const;
  [[nodiscard]] std::vector<std::string> texts() const;  // as add() takes them

  bool operator==(const BackendRanges&) const = default;

 private:
  enum class Kind { Any, Usual, Listed };
  struct Prefix {
    IpAddress first;
    unsigned bits = 0;  // of 128: IPv4 addresses have 96 in front of their own
    [[nodiscard]] bool contains(const IpAddress& address) const;
    auto operator<=>(const Prefix&) const = default;
  };

  Kind kind_ = Kind::Any;
  std::vector<Prefix> prefixes_;  // of Listed
};

}  // namespace lb
