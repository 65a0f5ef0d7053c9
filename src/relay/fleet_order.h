// One order of an operator for the whole fleet, as updaters make it and listeners carry it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace lb {

struct FleetOrder {
  std::string id;       // made by the updater that was asked; unique
  SysTime time;         // of the order; the newer one of two wins, of equal ones the larger id
  std::string target;   // ADDR:PORT or a host, as Drain::parse_target() takes it
  std::string service;  // name or [tcp://|udp://]ADDR:PORT; empty: every service
  bool drain = true;    // false: undrain
  // Ids of the backends that an ADDR:PORT meant when the order was given: a new task on the same
  // address is not drained. Empty for hosts.
  std::vector<std::string> ids;

  // Ed25519 (RFC 8032) over all of the above and `expires`, see order_signature.h. All three are empty
  // in an order of lbd 0.1.
  std::string key{};        // of the updater that vouches for it: public key, base64
  SysTime expires{};        // who does not know the order yet takes it until then
  std::string signature{};  // base64

  [[nodiscard]] bool is_signed() const { return !key.empty(); }
  bool operator==(const FleetOrder&) const = default;
};

// E2BIG, with a sentence: a text or list of it is over the limits (base/limits.h).
[[nodiscard]] Result<> order_within_limits(const FleetOrder& order);
[[nodiscard]] std::size_t size_of(const FleetOrder& order);  // bytes of its texts
// The same words of the same operator; key, expiry and signature may differ.
[[nodiscard]] bool says_the_same(const FleetOrder& a, const FleetOrder& b);

}  // namespace lb
