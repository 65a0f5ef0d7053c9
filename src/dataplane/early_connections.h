// TCP connections of this host that connection tracking has never seen, since nothing needed it when they began. While one is idle its
// port looks free: a client that is masqueraded may get it, the backend takes the client's SYN for a packet of that
// connection, and both of its ends are reset. So those to a backend are made known before a client is sent there.
//
// UDP needs none of it: connection tracking forgets an idle flow in any case, and gives the next datagram a port of its own.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/address.h"

namespace lb {

class EarlyConnections {
 public:
  // Notes what is open. What begins once connection tracking is at work, it sees itself.
  [[nodiscard]] Result<> look();
  // Costs nothing where none of the noted ones leads to these. After an error it may be called again.
  [[nodiscard]] Result<> make_known(const std::vector<Address>& backends);

 private:
  struct Connection {
    Address peer, local;
  };
  std::vector<Connection> open_;  // sorted by peer
};

}  // namespace lb
