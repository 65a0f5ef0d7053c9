#include "nft/flow_codec.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace lb::nft {
namespace {

using Bytes = std::span<const std::byte>;

// The attributes of one level by their number; what is not there is empty, what is unknown is left out.
template <std::size_t N>
Result<std::array<Bytes, N>> attributes(Bytes bytes) {
  std::array<Bytes, N> out;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > bytes.size())
      return fail(EBADMSG, "connection tracking entry: an attribute's length");
    const std::size_t type = header.nla_type & NLA_TYPE_MASK;
    if (type < N) out[type] = bytes.subspan(sizeof header, header.nla_len - sizeof header);
    bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
  return out;
}

template <class T>
std::optional<T> number(Bytes bytes) {
  T value{};
  if (bytes.size() != sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::optional<IpAddress> ip_from(Bytes v4, Bytes v6) {
  if (const auto value = number<std::uint32_t>(v4)) return IpAddress::v4(ntohl(*value));
  if (const auto value = number<std::array<std::uint8_t, 16>>(v6)) return IpAddress::v6(*value);
  return std::nullopt;
}

struct Tuple {
  std::uint8_t protocol = 0;
  Address from, to;  // unset where the protocol has no ports
};

Result<Tuple> decode_tuple(Bytes bytes) {
  LB_TRY(const auto tuple, attributes<CTA_TUPLE_MAX + 1>(bytes));
  LB_TRY(const auto ip, attributes<CTA_IP_MAX + 1>(tuple[CTA_TUPLE_IP]));
  LB_TRY(const auto proto, attributes<CTA_PROTO_MAX + 1>(tuple[CTA_TUPLE_PROTO]));
  const auto protocol = number<std::uint8_t>(proto[CTA_PROTO_NUM]);
  if (!protocol) return fail(EBADMSG, "connection tracking entry: no protocol");
  Tuple out{.protocol = *protocol, .from = {}, .to = {}};
  if (*protocol != IPPROTO_TCP && *protocol != IPPROTO_UDP) return out;
  const auto from = ip_from(ip[CTA_IP_V4_SRC], ip[CTA_IP_V6_SRC]);
  const auto to = ip_from(ip[CTA_IP_V4_DST], ip[CTA_IP_V6_DST]);
  const auto from_port = number<std::uint16_t>(proto[CTA_PROTO_SRC_PORT]);
  const auto to_port = number<std::uint16_t>(proto[CTA_PROTO_DST_PORT]);
  if (!from || !to || !from_port || !to_port)
    return fail(EBADMSG, "connection tracking entry: no addresses or ports");
  out.from = {*from, ntohs(*from_port)};
  out.to = {*to, ntohs(*to_port)};
  return out;
}

Result<std::uint8_t> decode_tcp_state(Bytes bytes) {
  LB_TRY(const auto info, attributes<CTA_PROTOINFO_MAX + 1>(bytes));
  LB_TRY(const auto tcp, attributes<CTA_PROTOINFO_TCP_MAX + 1>(info[CTA_PROTOINFO_TCP]));
  return number<std::uint8_t>(tcp[CTA_PROTOINFO_TCP_STATE]).value_or(0);
}

}  // namespace

bool Flow::is_open() const {
  if (protocol == Protocol::Udp) return true;
  return tcp_state >= TCP_CONNTRACK_SYN_RECV && tcp_state <= TCP_CONNTRACK_LAST_ACK;
}

Result<std::optional<Flow>> decode_flow(std::span<const std::byte> message) {
  if (message.size() < sizeof(nfgenmsg))
    return fail(EBADMSG, "connection tracking entry: too short");
  LB_TRY(const auto entry, attributes<CTA_MAX + 1>(message.subspan(NLMSG_ALIGN(sizeof(nfgenmsg)))));
  LB_TRY(const Tuple original, decode_tuple(entry[CTA_TUPLE_ORIG]));
  LB_TRY(const Tuple reply, decode_tuple(entry[CTA_TUPLE_REPLY]));
  if (original.protocol != reply.protocol)
    return fail(EBADMSG, "connection tracking entry: two protocols");
  if (original.protocol != IPPROTO_TCP && original.protocol != IPPROTO_UDP)
    return std::optional<Flow>();
  Flow flow;
  flow.protocol = original.protocol == IPPROTO_TCP ? Protocol::Tcp : Protocol::Udp;
  flow.client = original.from;
  flow.frontend = original.to;
  flow.backend = reply.from;
  flow.answered = reply.to;
  flow.status = ntohl(number<std::uint32_t>(entry[CTA_STATUS]).value_or(0));
  flow.id = ntohl(number<std::uint32_t>(entry[CTA_ID]).value_or(0));
  flow.zone = ntohs(number<std::uint16_t>(entry[CTA_ZONE]).value_or(0));
  if (flow.protocol == Protocol::Tcp) {
    LB_TRY(flow.tcp_state, decode_tcp_state(entry[CTA_PROTOINFO]));
  }
  return std::optional(flow);
}

}  // namespace lb::nft
