// Which addresses are this host's? Asked when a service is programmed; read from the kernel at the first question.
#pragma once

#include <optional>
#include <set>

#include "model/address.h"

namespace lb {

// Of all interfaces of this network namespace, a system call or two; empty when the kernel does not tell.
[[nodiscard]] std::set<IpAddress> read_host_addresses();

class HostAddresses {
 public:
  // Loopback addresses are always the host's.
  [[nodiscard]] bool has(const IpAddress& address) const;
  // The next question reads anew.
  void forget() { addresses_.reset(); }

 private:
  mutable std::optional<std::set<IpAddress>> addresses_;
};

}  // namespace lb
