#include "model/backend_ranges.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "model/host_address.h"

namespace lb {
namespace {

constexpr unsigned kV4Offset = 96;

}  // namespace

std::string_view why_special(const IpAddress& address) {
  if (const auto why = why_no_host(address); !why.empty()) return why;
  const auto& bytes = address.bytes();
  const bool link_local = address.is_v4() ? bytes[12] == 169 && bytes[13] == 254
                                          : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return link_local ? "a link-local address" : "";
}

BackendRanges BackendRanges::any() { return {}; }

BackendRanges BackendRanges::usual() {
  BackendRanges out;
  out.kind_ = Kind::Usual;
  return out;
}

Result<> BackendRanges::add(std::string_view text) {
  const auto slash = text.find('/');
  auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip)
    return fail(
        fmt::format("'{}' is no prefix of addresses: write for example \"10.0.0.0/8\"", text));
  const unsigned offset = ip->is_v4() ? kV4Offset : 0;
  unsigned bits = 128 - offset;
  if (slash != std::string_view::npos) {
    const std::string_view number = text.substr(slash + 1);
    const char* const end = number.data() + number.size();
    unsigned read = 0;
    const auto [at, ec] = std::from_chars(number.data(), end, read);
    if (ec != std::errc{} || at != end || read > bits)
      return fail(fmt::format("'{}' has a prefix length that is not between 0 and {}", text, bits));
    bits = read;
  }
  const Prefix prefix{*ip, bits + offset};
  auto bytes = ip->bytes();
  for (unsigned bit = prefix.bits; bit < 128; ++bit)
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80U >> bit % 8));
  if (bytes != ip->bytes())
    return fail(fmt::format("'{}' has bits behind its prefix: write {}/{}", text,
                            IpAddress::v6(bytes).to_string(), bits));
  kind_ = Kind::Listed;
  const auto place = std::lower_bound(prefixes_.begin(), prefixes_.end(), prefix);
  if (place == prefixes_.end() || *place != prefix) prefixes_.insert(place, prefix);
  return {};
}

bool BackendRanges::Prefix::contains(const IpAddress& address) const {
  // "::/0" is not all of IPv4, whose addresses only look like IPv6 here.
  if (address.is_v4() != (bits >= kV4Offset && first.is_v4())) return false;
  for (unsigned bit = 0; bit < bits; ++bit)
    if (((address.bytes()[bit / 8] ^ first.bytes()[bit / 8]) & (0x80U >> bit % 8)) != 0)
      return false;
  return true;
}

std::string BackendRanges::why_refused(const IpAddress& address) const {
  if (kind_ == Kind::Any) return {};
  const std::string_view special = why_special(address);
  if (kind_ == Kind::Usual) return std::string(special);
  for (const Prefix& prefix : prefixes_)
    if (prefix.contains(address)) return {};
  return special.empty() ? "outside of them" : std::string(special);
}

std::vector<std::string> BackendRanges::texts() const {
  std::vector<std::string> out;
  for (const Prefix& prefix : prefixes_)
    out.push_back(fmt::format("{}/{}", prefix.first.to_string(),
                              prefix.first.is_v4() ? prefix.bits - kV4Offset : prefix.bits));
  return out;
}

}  // namespace lb
