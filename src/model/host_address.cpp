#include "model/host_address.h"

#include <algorithm>

namespace lb {

std::string_view why_no_host(const IpAddress& address) {
  if (address.is_unspecified())
    return "a wildcard to listen on, and no host that one can connect to";
  const auto& bytes = address.bytes();
  if (!address.is_v4()) return bytes[0] == 0xff ? "a multicast address" : "";
  const auto* four = bytes.data() + 12;
  if (four[0] == 0) return "an address of \"this network\", and no host";
  if (std::all_of(four, four + 4, [](auto b) { return b == 0xff; })) return "the broadcast address";
  return four[0] >= 224 && four[0] < 240 ? "a multicast address" : "";
}

}  // namespace lb
