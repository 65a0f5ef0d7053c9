#include "ebpf/abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

#include "base/direct_socket.h"

namespace lb::bpf {

static_assert(kDirectPriority == LB_DIRECT_PRIORITY);

namespace {

Address address_of(const __be32 (&ip)[4], __be16 port) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), ip, bytes.size());
  return Address{IpAddress::v6(bytes), ntohs(port)};
}

}  // namespace

lb_addr to_abi(Protocol protocol, const Address& address) {
  lb_addr out{};
  std::memcpy(out.ip, address.ip.bytes().data(), sizeof out.ip);
  out.port = htons(address.port);
  out.proto = protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP;
  return out;
}

lb_addr to_abi(const ServiceKey& key) {
  return to_abi(key.protocol, Address{key.address, key.port});
}

Address address_from_abi(const lb_addr& addr) { return address_of(addr.ip, addr.port); }
Address local_end(const lb_socket& socket) {
  return address_of(socket.local_ip, socket.local_port);
}
Address peer_end(const lb_socket& socket) { return address_of(socket.peer_ip, socket.peer_port); }

ServiceKey key_from_abi(const lb_addr& addr) {
  const Address address = address_from_abi(addr);
  return ServiceKey{addr.proto == IPPROTO_UDP ? Protocol::Udp : Protocol::Tcp, address.ip,
                    address.port};
}

}  // namespace lb::bpf
