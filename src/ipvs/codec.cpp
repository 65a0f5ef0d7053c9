#include "ipvs/codec.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

namespace lb::ipvs {
namespace {

constexpr std::size_t kV4At = 12;          // where ::ffff:a.b.c.d has its a
constexpr std::size_t kAddressBytes = 16;  // union nf_inet_addr: an IPv4 address is its first four

std::uint16_t family_of(bool v6) { return v6 ? AF_INET6 : AF_INET; }

std::array<std::uint8_t, kAddressBytes> to_wire(const IpAddress& address, bool v6) {
  if (v6) return address.bytes();
  std::array<std::uint8_t, kAddressBytes> out{};
  std::copy(address.bytes().begin() + kV4At, address.bytes().end(), out.begin());
  return out;
}

Result<IpAddress> address_from_wire(Bytes wire, bool v6) {
  const std::size_t size = v6 ? kAddressBytes : kAddressBytes - kV4At;
  if (wire.size() < size)
    return fail(EBADMSG, fmt::format("netlink: an address of {} bytes", wire.size()));
  if (!v6)
    return IpAddress::v4(std::uint32_t{wire[0]} << 24 | std::uint32_t{wire[1]} << 16 |
                         std::uint32_t{wire[2]} << 8 | std::uint32_t{wire[3]});
  std::array<std::uint8_t, kAddressBytes> bytes;
  std::copy_n(wire.begin(), kAddressBytes, bytes.begin());
  return IpAddress::v6(bytes);
}

Result<bool> is_v6(std::uint16_t family) {
  if (family != AF_INET && family != AF_INET6)
    return fail(EBADMSG, fmt::format("netlink: address family {}", family));
  return family == AF_INET6;
}

// ---- out

std::uint8_t command_number(Command::Kind kind) {
  switch (kind) {
    case Command::Kind::AddService:
      return IPVS_CMD_NEW_SERVICE;
    case Command::Kind::SetService:
      return IPVS_CMD_SET_SERVICE;
    case Command::Kind::RemoveService:
      return IPVS_CMD_DEL_SERVICE;
    case Command::Kind::AddServer:
      return IPVS_CMD_NEW_DEST;
    case Command::Kind::SetServer:
      return IPVS_CMD_SET_DEST;
    case Command::Kind::RemoveServer:
      return IPVS_CMD_DEL_DEST;
  }
  bug("ipvs: a command of no kind");
}

void put_id(MessageWriter& message, const ServiceId& id) {
  message.put_number(IPVS_SVC_ATTR_AF, family_of(id.v6));
  if (id.fwmark != 0) {
    message.put_number(IPVS_SVC_ATTR_FWMARK, id.fwmark);
    return;
  }
  const std::uint16_t protocol = id.protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP;
  message.put_number(IPVS_SVC_ATTR_PROTOCOL, protocol);
  message.put(IPVS_SVC_ATTR_ADDR, to_wire(id.address, id.v6));
  message.put_number(IPVS_SVC_ATTR_PORT, htons(id.port));
}

// EINVAL unless all of these are there, whatever is to be changed.
void put_settings(MessageWriter& message, const VirtualService& service) {
  const std::uint32_t ours = ~static_cast<std::uint32_t>(IP_VS_SVC_F_HASHED);
  const std::uint32_t one_client_v4 = 0xffffffff,
                      one_client_v6 = 128;  // a mask and a prefix length
  message.put_string(IPVS_SVC_ATTR_SCHED_NAME, service.scheduler);
  message.put_number(IPVS_SVC_ATTR_FLAGS, ip_vs_flags{service.flags & ours, ours});
  message.put_number(IPVS_SVC_ATTR_TIMEOUT, service.timeout);
  message.put_number(IPVS_SVC_ATTR_NETMASK, service.id.v6 ? one_client_v6 : one_client_v4);
}

void put_server(MessageWriter& message, const RealServer& server, bool whole) {
  const bool v6 = !server.address.ip.is_v4();
  message.put(IPVS_DEST_ATTR_ADDR, to_wire(server.address.ip, v6));
  message.put_number(IPVS_DEST_ATTR_PORT, htons(server.address.port));
  message.put_number(IPVS_DEST_ATTR_ADDR_FAMILY, family_of(v6));
  if (!whole) return;
  const std::uint32_t no_limit = 0;  // of connections
  message.put_number(IPVS_DEST_ATTR_FWD_METHOD, static_cast<std::uint32_t>(server.forwarding));
  message.put_number(IPVS_DEST_ATTR_WEIGHT, server.weight);
  message.put_number(IPVS_DEST_ATTR_U_THRESH, no_limit);
  message.put_number(IPVS_DEST_ATTR_L_THRESH, no_limit);
}

MessageWriter::Header header(const Envelope& envelope, std::uint8_t command, int flags) {
  return {envelope.family, static_cast<std::uint16_t>(NLM_F_REQUEST | flags), envelope.sequence,
          command, IPVS_GENL_VERSION};
}

// ---- in

Result<Attributes> attributes_of(const Message& message) {
  if (message.payload.size() < GENL_HDRLEN)
    return fail(EBADMSG, "netlink: a message without a generic header");
  return Attributes::parse(message.payload.subspan(GENL_HDRLEN));
}

// Nothing for a protocol that ServiceId does not know.
Result<std::optional<ServiceId>> decode_id(const Attributes& service) {
  LB_TRY(const auto family, service.number<std::uint16_t>(IPVS_SVC_ATTR_AF, "AF"));
  LB_TRY(const bool v6, is_v6(family));
  if (service.find(IPVS_SVC_ATTR_FWMARK)) {
    LB_TRY(const auto mark, service.number<std::uint32_t>(IPVS_SVC_ATTR_FWMARK, "FWMARK"));
    if (mark == 0) return fail(EBADMSG, "netlink: FWMARK is 0");
    return ServiceId::of_mark(mark, v6);
  }
  LB_TRY(const auto protocol, service.number<std::uint16_t>(IPVS_SVC_ATTR_PROTOCOL, "PROTOCOL"));
  LB_TRY(const Bytes wire, service.bytes(IPVS_SVC_ATTR_ADDR, "ADDR", 0));
  LB_TRY(const IpAddress address, address_from_wire(wire, v6));
  LB_TRY(const auto port, service.number<std::uint16_t>(IPVS_SVC_ATTR_PORT, "PORT"));
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return std::nullopt;
  return ServiceId{0, v6, protocol == IPPROTO_TCP ? Protocol::Tcp : Protocol::Udp, address,
                   ntohs(port)};
}

// How many connections there have been. Kernels before 4.1 have no 64-bit counters, and their 32-bit ones wrap.
Result<std::uint64_t> decode_connections(const Attributes& server) {
  if (!server.find(IPVS_DEST_ATTR_STATS64)) return 0;
  LB_TRY(const Attributes stats, server.nested(IPVS_DEST_ATTR_STATS64, "STATS64"));
  if (!stats.find(IPVS_STATS_ATTR_CONNS)) return 0;
  return stats.number<std::uint64_t>(IPVS_STATS_ATTR_CONNS, "CONNS");
}

Result<RealServer> decode_real_server(const Attributes& server, bool service_is_v6) {
  bool v6 = service_is_v6;
  if (server.find(IPVS_DEST_ATTR_ADDR_FAMILY)) {
    LB_TRY(const auto family,
           server.number<std::uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, "ADDR_FAMILY"));
    LB_TRY(v6, is_v6(family));
  }
  LB_TRY(const Bytes wire, server.bytes(IPVS_DEST_ATTR_ADDR, "ADDR", 0));
  LB_TRY(const IpAddress address, address_from_wire(wire, v6));
  LB_TRY(const auto port, server.number<std::uint16_t>(IPVS_DEST_ATTR_PORT, "PORT"));
  LB_TRY(const auto weight, server.number<std::uint32_t>(IPVS_DEST_ATTR_WEIGHT, "WEIGHT"));
  LB_TRY(const auto forwarding,
         server.number<std::uint32_t>(IPVS_DEST_ATTR_FWD_METHOD, "FWD_METHOD"));
  const auto method = forwarding & IP_VS_CONN_F_FWD_MASK;
  if (method > IP_VS_CONN_F_DROUTE)  // BYPASS is of connections, never of a server
    return fail(EBADMSG, fmt::format("netlink: forwarding method {}", method));
  return RealServer{{address, ntohs(port)}, weight, static_cast<Forwarding>(method)};
}

// ---- words

std::string explain_missing(const Command& command) {
  switch (command.kind) {
    case Command::Kind::AddService:
    case Command::Kind::SetService:
      return fmt::format("scheduler '{0}' is not available: module ip_vs_{0}",
                         command.service.scheduler);
    case Command::Kind::SetServer:
    case Command::Kind::RemoveServer:
      return "the service has no such server";
    default:
      return "";
  }
}

std::string explain_invalid(const Command& command) {
  if (command.kind != Command::Kind::AddServer && command.kind != Command::Kind::SetServer)
    return "";
  const RealServer& server = command.server;
  if (server.address.ip.is_v4() == command.service.id.v6 && server.forwarding != Forwarding::Tunnel)
    return fmt::format("an {} server cannot serve an {} service",
                       server.address.ip.is_v4() ? "IPv4" : "IPv6",
                       command.service.id.v6 ? "IPv6" : "IPv4");
  return "the address must be one that packets can be sent to (unicast)";
}

}  // namespace

void encode_command(Buffer& out, const Envelope& envelope, const Command& command) {
  const auto kind = command.kind;
  MessageWriter message(out, header(envelope, command_number(kind), NLM_F_ACK));
  message.nest(IPVS_CMD_ATTR_SERVICE, [&] {
    put_id(message, command.service.id);
    if (kind == Command::Kind::AddService || kind == Command::Kind::SetService)
      put_settings(message, command.service);
  });
  if (kind == Command::Kind::AddServer || kind == Command::Kind::SetServer ||
      kind == Command::Kind::RemoveServer)
    message.nest(IPVS_CMD_ATTR_DEST,
                 [&] { put_server(message, command.server, kind != Command::Kind::RemoveServer); });
}

void encode_info_request(Buffer& out, const Envelope& envelope) {
  const MessageWriter message(out, header(envelope, IPVS_CMD_GET_INFO, NLM_F_ACK));
}

void encode_services_request(Buffer& out, const Envelope& envelope) {
  const MessageWriter message(out, header(envelope, IPVS_CMD_GET_SERVICE, NLM_F_DUMP));
}

void encode_service_request(Buffer& out, const Envelope& envelope, const ServiceId& service) {
  MessageWriter message(out, header(envelope, IPVS_CMD_GET_SERVICE, NLM_F_ACK));
  message.nest(IPVS_CMD_ATTR_SERVICE, [&] { put_id(message, service); });
}

void encode_servers_request(Buffer& out, const Envelope& envelope, const ServiceId& service) {
  MessageWriter message(out, header(envelope, IPVS_CMD_GET_DEST, NLM_F_DUMP));
  message.nest(IPVS_CMD_ATTR_SERVICE, [&] { put_id(message, service); });
}

Result<Info> decode_info(const Message& message) {
  LB_TRY(const Attributes info, attributes_of(message));
  Info out;
  LB_TRY(out.version, info.number<std::uint32_t>(IPVS_INFO_ATTR_VERSION, "VERSION"));
  LB_TRY(out.connection_table,
         info.number<std::uint32_t>(IPVS_INFO_ATTR_CONN_TAB_SIZE, "CONN_TAB_SIZE"));
  return out;
}

Result<std::optional<VirtualService>> decode_service(const Message& message) {
  LB_TRY(const Attributes top, attributes_of(message));
  LB_TRY(const Attributes service, top.nested(IPVS_CMD_ATTR_SERVICE, "SERVICE"));
  LB_TRY(const auto id, decode_id(service));
  VirtualService out;
  LB_TRY(out.scheduler, service.string(IPVS_SVC_ATTR_SCHED_NAME, "SCHED_NAME"));
  LB_TRY(const auto flags, service.number<ip_vs_flags>(IPVS_SVC_ATTR_FLAGS, "FLAGS"));
  LB_TRY(out.timeout, service.number<std::uint32_t>(IPVS_SVC_ATTR_TIMEOUT, "TIMEOUT"));
  if (!id) return std::nullopt;
  out.id = *id;
  out.flags = flags.flags & ~static_cast<std::uint32_t>(IP_VS_SVC_F_HASHED);
  return out;
}

Result<ObservedServer> decode_server(const Message& message, bool service_is_v6) {
  LB_TRY(const Attributes top, attributes_of(message));
  LB_TRY(const Attributes server, top.nested(IPVS_CMD_ATTR_DEST, "DEST"));
  ObservedServer out;
  LB_TRY(out.server, decode_real_server(server, service_is_v6));
  LB_TRY(out.active, server.number<std::uint32_t>(IPVS_DEST_ATTR_ACTIVE_CONNS, "ACTIVE_CONNS"));
  LB_TRY(out.inactive, server.number<std::uint32_t>(IPVS_DEST_ATTR_INACT_CONNS, "INACT_CONNS"));
  LB_TRY(out.connections, decode_connections(server));
  return out;
}

std::string explain(const Command& command, int error) {
  switch (error) {
    case ENOENT:
      return explain_missing(command);
    case EINVAL:
      return explain_invalid(command);
    case ESRCH:
      return "IPVS has no such service";
    case EEXIST:
      return "it is there already";
    case ERANGE:
      return fmt::format("weight {} is above 2147483647", command.server.weight);
    case EAFNOSUPPORT:
      return "this kernel's IPVS has no IPv6 (CONFIG_IP_VS_IPV6)";
    case EPERM:
      return "lbd needs CAP_NET_ADMIN";
    default:
      return "";
  }
}

}  // namespace lb::ipvs
