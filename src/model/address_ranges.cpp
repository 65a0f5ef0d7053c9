#include "model/address_ranges.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lb {
namespace {

constexpr unsigned kAllBits = 128, kBitsBeforeV4 = 96;

// The bits of an address that a prefix of so many leaves.
IpAddress masked(const IpAddress& address, unsigned bits) {
  std::array<std::uint8_t, 16> bytes = address.bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto before = static_cast<unsigned>(8 * i);
    const unsigned left = bits <= before ? 0 : std::min(8U, bits - before);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> left));
  }
  return IpAddress::v6(bytes);
}

Result<unsigned> parse_length(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > most)
    return fail(fmt::format("'{}' is not the length of a prefix, 0 to {}", text, most));
  return value;
}

}  // namespace

bool AddressRanges::Prefix::covers(const IpAddress& address) const {
  // ::/0 means IPv6, and holds IPv4 addresses only by the way in which they are written down here.
  return address.is_v4() == first.is_v4() && masked(address, bits) == first;
}

AddressRanges AddressRanges::all() {
  AddressRanges out;
  out.add({IpAddress::v4(0), kBitsBeforeV4});
  out.add({IpAddress(), 0});
  return out;
}

AddressRanges AddressRanges::loopback() {
  AddressRanges out;
  out.add({IpAddress::v4(0x7f000000), kBitsBeforeV4 + 8});
  out.add(IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  return out;
}

AddressRanges AddressRanges::this_host() {
  AddressRanges out;
  out.add(IpAddress::v4(0));
  out.add(IpAddress());
  return out;
}

Result<AddressRanges> AddressRanges::parse(std::string_view text) {
  const auto slash = text.find('/');
  LB_TRY(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
  AddressRanges out;
  if (slash == std::string_view::npos) {
    out.add(address);
    return out;
  }
  const unsigned before = address.is_v4() ? kBitsBeforeV4 : 0;
  LB_TRY(const unsigned length, parse_length(text.substr(slash + 1), kAllBits - before));
  const IpAddress first = masked(address, before + length);
  // Is the one address meant, or all of its network?
  if (first != address)
    return fail(fmt::format("'{}' is an address with the length of a network: write {} or {}/{}",
                            text, address.to_string(), first.to_string(), length));
  out.add(Prefix{first, before + length});
  return out;
}

Result<AddressRanges> AddressRanges::parse_list(std::string_view text) {
  AddressRanges out;
  if (text == "none") return out;
  for (std::string_view rest = text;;) {
    const auto comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    item.remove_prefix(std::min(item.find_first_not_of(' '), item.size()));
    LB_TRY(const AddressRanges one, parse(item));
    out.add(one);
    if (comma == std::string_view::npos) return out;
    rest.remove_prefix(comma + 1);
  }
}

void AddressRanges::add(const AddressRanges& more) {
  for (const Prefix& prefix : more.prefixes_) add(prefix);
  host_v4_ = host_v4_ || more.host_v4_;
  host_v6_ = host_v6_ || more.host_v6_;
}

void AddressRanges::add(const IpAddress& address) {
  if (!address.is_unspecified()) return add(Prefix{address, kAllBits});
  host_v4_ = true;
  host_v6_ = host_v6_ || !address.is_v4();
}

// One form for one meaning: comparing two values compares what they name.
void AddressRanges::add(const Prefix& prefix) {
  const auto within = [](const Prefix& inner, const Prefix& outer) {
    return inner.bits >= outer.bits && outer.covers(inner.first);
  };
  if (std::any_of(prefixes_.begin(), prefixes_.end(),
                  [&](const Prefix& known) { return within(prefix, known); }))
    return;
  std::erase_if(prefixes_, [&](const Prefix& known) { return within(known, prefix); });
  prefixes_.insert(std::upper_bound(prefixes_.begin(), prefixes_.end(), prefix), prefix);
}

bool AddressRanges::contains(const IpAddress& address, bool of_host) const {
  if (address.is_unspecified()) return false;
  if (of_host && (address.is_v4() ? host_v4_ : host_v6_)) return true;
  return std::any_of(prefixes_.begin(), prefixes_.end(),
                     [&](const Prefix& prefix) { return prefix.covers(address); });
}

std::vector<std::string> AddressRanges::texts() const {
  std::vector<std::string> out;
  if (host_v4_) out.emplace_back(host_v6_ ? "::" : "0.0.0.0");
  for (const Prefix& prefix : prefixes_) {
    const unsigned length = prefix.first.is_v4() ? prefix.bits - kBitsBeforeV4 : prefix.bits;
    out.push_back(prefix.bits == kAllBits ? prefix.first.to_string()
                                          : fmt::format("{}/{}", prefix.first.to_string(), length));
  }
  return out;
}

std::string AddressRanges::to_string() const {
  return empty() ? "none" : fmt::format("{}", fmt::join(texts(), ", "));
}

}  // namespace lb
