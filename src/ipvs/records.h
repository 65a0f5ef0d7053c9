// What IPVS holds, as values: virtual services and their real servers. The words are ipvsadm's.
// Source: include/uapi/linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c, Linux 6.1 to 6.12.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "model/service.h"

namespace lb::ipvs {

// A virtual service's identity: a firewall mark with a family, or protocol, address and port.
struct ServiceId {
  std::uint32_t fwmark = 0;  // 0: by protocol, address and port, which are unset otherwise
  bool v6 = false;           // the family; equals !address.is_v4() where there is an address
  Protocol protocol = Protocol::Tcp;
  IpAddress address{};
  Port port = 0;

  [[nodiscard]] static ServiceId of(const ServiceKey& key) {
    return {0, !key.address.is_v4(), key.protocol, key.address, key.port};
  }
  [[nodiscard]] static ServiceId of_mark(std::uint32_t fwmark, bool v6) {
    return {fwmark, v6, Protocol::Tcp, {}, 0};
  }
  // "tcp://127.0.0.1:8080", "fwmark 0x5a000001 IPv4".
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const ServiceId&) const = default;
};

struct VirtualService {
  ServiceId id;
  std::string scheduler;      // "wlc", "wrr", "mh", ...: the module ip_vs_<scheduler>
  std::uint32_t flags = 0;    // IP_VS_SVC_F_*; the kernel's own bits (HASHED) are masked out
  std::uint32_t timeout = 0;  // of persistence, seconds; 0 with IP_VS_SVC_F_PERSISTENT unset

  auto operator<=>(const VirtualService&) const = default;
};

// How a packet gets to the real server: IP_VS_CONN_F_FWD_MASK.
enum class Forwarding : std::uint8_t { Masquerade = 0, Local = 1, Tunnel = 2, Route = 3 };

struct RealServer {
  Address address;
  std::uint32_t weight = 0;
  Forwarding forwarding = Forwarding::Masquerade;  // lbd's are all this; others' are shown as found

  auto operator<=>(const RealServer&) const = default;
};

struct ObservedServer {
  RealServer server;
  // ActiveConn: TCP ESTABLISHED, and what IPVS counts with it.
  std::uint32_t active = 0;
  // InActConn: SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE..., and every flow of UDP.
  std::uint32_t inactive = 0;
  // Since it was added (STATS64). The kernel brings it up to date every 2 s.
  std::uint64_t connections = 0;
};

struct Info {
  std::uint32_t version = 0;           // 0x010201 is 1.2.1
  std::uint32_t connection_table = 0;  // buckets
};

// One change. Each is a message of its own, acknowledged by the kernel with an errno.
struct Command {
  enum class Kind : std::uint8_t {
    AddService,     // EEXIST if it is there
    SetService,     // ESRCH if it is not
    RemoveService,  // ESRCH if it is not
    AddServer,      // EEXIST; ESRCH without the service
    SetServer,      // ENOENT; ESRCH without the service
    RemoveServer,   // ENOENT; ESRCH without the service
  };
  Kind kind = Kind::AddService;
  VirtualService service;  // only its id is used for servers and removals
  RealServer server{};     // of the last three kinds

  // "add server 10.0.0.1:80 to tcp://127.0.0.1:8080", for error messages.
  [[nodiscard]] std::string to_string() const;
};

}  // namespace lb::ipvs
