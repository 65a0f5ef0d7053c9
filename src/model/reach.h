// Where the services of a source may be: its rights on this host. Values.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "model/address_ranges.h"
#include "model/service.h"

namespace lb {

// An address that lbd itself dials: a service there would take its place.
struct OwnEndpoint {
  Address address;
  std::string what;  // "the etcd endpoint http://10.0.0.1:2379"

  auto operator<=>(const OwnEndpoint&) const = default;
};

struct Reach {
  AddressRanges claims = AddressRanges::all();   // addresses that its services may have
  AddressRanges publish = AddressRanges::all();  // of these: may also serve clients of other hosts
  // It is this host's own word: while the host's addresses are not known it is not doubted.
  bool of_host = true;
  std::vector<OwnEndpoint> endpoints{};  // of all sources

  bool operator==(const Reach&) const = default;
};

// The addresses of this host, as far as they are known.
struct HostView {
  std::vector<IpAddress> addresses{};  // sorted
  bool known = false;

  [[nodiscard]] bool has(const IpAddress& address) const {
    return address.is_loopback() || std::binary_search(addresses.begin(), addresses.end(), address);
  }
  bool operator==(const HostView&) const = default;
};

}  // namespace lb
