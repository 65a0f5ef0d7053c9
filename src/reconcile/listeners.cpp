#include "reconcile/listeners.h"

#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "reconcile/netlink.h"

namespace lb {
namespace {

// A UDP socket that is bound but not connected is in the state that TCP calls CLOSE.
constexpr std::uint32_t kUnconnected = 1U << TCP_CLOSE;
constexpr std::uint32_t kListening = 1U << TCP_LISTEN;

bool parse_v6only(std::span<const std::byte> attributes) {
  while (attributes.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, attributes.data(), sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > attributes.size()) break;
    if (attribute.rta_type == INET_DIAG_SKV6ONLY && attribute.rta_len > sizeof attribute)
      return attributes[sizeof attribute] != std::byte{0};
    attributes =
        attributes.subspan(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), attributes.size()));
  }
  return false;
}

IpAddress parse_source(const inet_diag_msg& message) {
  if (message.idiag_family == AF_INET) return IpAddress::v4(ntohl(message.id.idiag_src[0]));
  std::array<std::uint8_t, 16> raw{};
  std::memcpy(raw.data(), message.id.idiag_src, raw.size());
  return IpAddress::v6(raw);
}

Result<> dump(Protocol protocol, std::uint8_t family, std::set<Listener>& out) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP;
  request.idiag_states = protocol == Protocol::Tcp ? kListening : kUnconnected;
  return netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)),
                      [&](const nlmsghdr&, std::span<const std::byte> payload) {
                        if (const auto listener = parse_listener(protocol, payload))
                          out.insert(*listener);
                      });
}

bool is_local(const IpAddress& address, const std::vector<IpAddress>& local) {
  return address.is_loopback() || std::find(local.begin(), local.end(), address) != local.end();
}

bool is_backend_of(const Listener& listener, const DesiredService& service,
                   const std::vector<IpAddress>& local) {
  return std::any_of(service.backends.begin(), service.backends.end(),
                     [&](const DesiredBackend& b) {
                       const Address& address = b.backend.address;
                       return address.port == listener.port && is_local(address.ip, local) &&
                              receives(listener, {service.key.protocol, address.ip, address.port});
                     });
}

}  // namespace

std::optional<Listener> parse_listener(Protocol protocol, std::span<const std::byte> payload) {
  inet_diag_msg message{};
  if (payload.size() < sizeof message) return std::nullopt;
  std::memcpy(&message, payload.data(), sizeof message);
  if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6) return std::nullopt;
  const auto wanted = protocol == Protocol::Tcp ? TCP_LISTEN : TCP_CLOSE;
  const Port port = ntohs(message.id.idiag_sport);
  if (message.idiag_state != wanted || port == 0) return std::nullopt;
  return Listener{.protocol = protocol,
                  .port = port,
                  .address = parse_source(message),
                  .v6only = message.idiag_family == AF_INET6 &&
                            parse_v6only(payload.subspan(NLMSG_ALIGN(sizeof message))),
                  .inode = message.idiag_inode,
                  .uid = message.idiag_uid};
}

Result<std::vector<Listener>> read_listeners() {
  std::set<Listener> found;
  for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp})
    for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}})
      if (auto done = dump(protocol, family, found); !done)
        return fail(done.error().code, "look for listeners: " + done.error().context);
  return std::vector(found.begin(), found.end());
}

// Sorted by protocol and port first: of thousands of listeners only those of the port are seen.
std::span<const Listener> on_port(const std::vector<Listener>& listeners, Protocol protocol,
                                  Port port) {
  const auto id = [](const Listener& l) { return std::pair(l.protocol, l.port); };
  const std::pair wanted(protocol, port);
  const auto begin = std::lower_bound(listeners.begin(), listeners.end(), wanted,
                                      [&](const Listener& l, const auto& w) { return id(l) < w; });
  const auto end = std::upper_bound(begin, listeners.end(), wanted,
                                    [&](const auto& w, const Listener& l) { return w < id(l); });
  return {begin, end};
}

bool receives(const Listener& listener, const Frontend& to) {
  if (listener.protocol != to.protocol || listener.port != to.port) return false;
  if (listener.address == to.address) return true;
  if (!listener.address.is_unspecified()) return false;
  if (listener.address.is_v4()) return to.address.is_v4();
  return !to.address.is_v4() || !listener.v6only;
}

std::vector<const Listener*> find_conflicts(const DesiredService& service,
                                            const IpAddress& frontend,
                                            const std::vector<Listener>& listeners,
                                            const std::vector<IpAddress>& local) {
  const Frontend to{service.key.protocol, frontend, service.key.port};
  std::vector<const Listener*> found;
  for (const Listener& listener : on_port(listeners, to.protocol, to.port))
    if (receives(listener, to) && !is_backend_of(listener, service, local))
      found.push_back(&listener);
  return found;
}

}  // namespace lb
