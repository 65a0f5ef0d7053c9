// A set of IP addresses as the configuration writes it. A value.
#pragma once

#include <compare>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/address.h"

namespace lb {

class AddressRanges {
 public:
  AddressRanges() = default;  // no address
  // Every address, whatever host it belongs to.
  [[nodiscard]] static AddressRanges all();
  [[nodiscard]] static AddressRanges loopback();   // 127.0.0.0/8 and ::1
  [[nodiscard]] static AddressRanges this_host();  // every address of this host
  // An address, or a prefix such as "10.0.0.0/8". The wildcards name what a server binds by them: "0.0.0.0" this host's IPv4
  // addresses, "::" all of this host's.
  [[nodiscard]] static Result<AddressRanges> parse(std::string_view text);
  // What to_string() has made of one.
  [[nodiscard]] static Result<AddressRanges> parse_list(std::string_view text);

  void add(const AddressRanges& more);
  void add(const IpAddress& address);
  // `of_host`: it is an address of this host. Never true of a wildcard.
  [[nodiscard]] bool contains(const IpAddress& address, bool of_host) const;
  // Whether contains() depends on which addresses this host has.
  [[nodiscard]] bool names_this_host() const { return host_v4_ || host_v6_; }
  [[nodiscard]] bool empty() const { return prefixes_.empty() && !names_this_host(); }
  // Sorted, as parse() takes them: {"0.0.0.0", "10.0.0.0/8"}.
  [[nodiscard]] std::vector<std::string> texts() const;
  [[nodiscard]] std::string to_string() const;  // "0.0.0.0, 10.0.0.0/8"; "none"

  bool operator==(const AddressRanges&) const = default;

 private:
  struct Prefix {
    IpAddress first;
    unsigned bits = 0;  // of all 128: an IPv4 address has 96 in front of its own
    [[nodiscard]] bool covers(const IpAddress& address) const;
    auto operator<=>(const Prefix&) const = default;
  };
  void add(const Prefix& prefix);

  std::vector<Prefix> prefixes_;  // sorted, none within another
  bool host_v4_ = false, host_v6_ = false;
};

}  // namespace lb
