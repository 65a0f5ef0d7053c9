// IPVS's connections, one by one, as /proc/net/ip_vs_conn lists them: needed where the counts of a real server do
// not say enough. The file is as long as there are connections; it is read rarely.
// Source: net/netfilter/ipvs/ip_vs_conn.c, ip_vs_conn_seq_show(), Linux 6.1 to 6.12.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/service.h"

namespace lb {

struct IpvsConnection {
  Protocol protocol = Protocol::Tcp;
  Address client;   // as IPVS sees it: laundered
  Address service;  // what the client connected to
  Address server;
  std::string state;  // "ESTABLISHED", "FIN_WAIT", "TIME_WAIT", "UDP", ...

  // Nothing more can pass: what is left waits for stray packets.
  [[nodiscard]] bool is_over() const { return state == "TIME_WAIT" || state == "CLOSE"; }
};

// Lines of other protocols, and such as cannot be read, are left out.
[[nodiscard]] std::vector<IpvsConnection> parse_ipvs_connections(std::string_view text);
[[nodiscard]] Result<std::vector<IpvsConnection>> read_ipvs_connections();

}  // namespace lb
