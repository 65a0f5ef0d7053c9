#include "dataplane/host_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>

#include <cstring>
#include <memory>

namespace lb {

std::set<IpAddress> read_host_addresses() {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(raw, &::freeifaddrs);
  std::set<IpAddress> out;
  for (const ifaddrs* each = all.get(); each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    if (each->ifa_addr->sa_family == AF_INET) {
      sockaddr_in v4{};
      std::memcpy(&v4, each->ifa_addr, sizeof v4);
      out.insert(IpAddress::v4(ntohl(v4.sin_addr.s_addr)));
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 v6{};
      std::memcpy(&v6, each->ifa_addr, sizeof v6);
      std::array<std::uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
      out.insert(IpAddress::v6(bytes));
    }
  }
  return out;
}

bool HostAddresses::has(const IpAddress& address) const {
  if (address.is_loopback()) return true;
  if (!addresses_) addresses_ = read_host_addresses();
  return addresses_->contains(address);
}

}  // namespace lb
