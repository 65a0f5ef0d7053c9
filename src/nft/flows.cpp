#include "nft/flows.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cerrno>
#include <optional>
#include <string>

namespace lb::nft {
namespace {

constexpr int message_type(int kind) { return (NFNL_SUBSYS_CTNETLINK << 8) | kind; }

std::string flows_refused(int error) {
  switch (error) {
    case EPERM:
      return "look at connection tracking: needs CAP_NET_ADMIN (run lbd as root, or give its unit "
             "the capability)";
    case EINVAL:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
      return "look at connection tracking: the kernel has none (modprobe nf_conntrack_netlink, or "
             "a "
             "kernel with CONFIG_NF_CT_NETLINK)";
    default:
      return "look at connection tracking";
  }
}

void put_u16(nl_msg* message, int attribute, std::uint16_t value) {
  nla_put_u16(message, attribute, htons(value));
}

void put_address(nl_msg* message, const IpAddress& ip, int v4, int v6) {
  // An IPv4 address is the last four bytes of its mapped form.
  if (ip.is_v4())
    nla_put(message, v4, 4, ip.bytes().data() + 12);
  else
    nla_put(message, v6, 16, ip.bytes().data());
}

struct Tuple {
  Protocol protocol;
  Address from, to;
};

// `direction`: CTA_TUPLE_ORIG or CTA_TUPLE_REPLY.
void put_tuple(nl_msg* message, int direction, const Tuple& of) {
  nlattr* tuple = nla_nest_start(message, direction);
  nlattr* ip = nla_nest_start(message, CTA_TUPLE_IP);
  put_address(message, of.from.ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  put_address(message, of.to.ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  nla_nest_end(message, ip);
  nlattr* proto = nla_nest_start(message, CTA_TUPLE_PROTO);
  nla_put_u8(message, CTA_PROTO_NUM, of.protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP);
  put_u16(message, CTA_PROTO_SRC_PORT, of.from.port);
  put_u16(message, CTA_PROTO_DST_PORT, of.to.port);
  nla_nest_end(message, proto);
  nla_nest_end(message, tuple);
}

// The family decides how the kernel reads the addresses.
Result<Message> message_about(int kind, int flags, const Address& one) {
  LB_TRY(Message message, nfnetlink_message(message_type(kind), flags));
  static_cast<nfgenmsg*>(nlmsg_data(nlmsg_hdr(message.get())))->nfgen_family =
      one.ip.is_v4() ? AF_INET : AF_INET6;
  return message;
}

// Established, and liberal about sequence numbers, of which none is known.
void put_open_tcp(nl_msg* message) {
  nla_put_u32(message, CTA_STATUS, htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED));
  constexpr std::uint32_t kSeconds = 5 * 24 * 3600;  // the kernel's own default
  nla_put_u32(message, CTA_TIMEOUT, htonl(kSeconds));
  nlattr* info = nla_nest_start(message, CTA_PROTOINFO);
  nlattr* tcp = nla_nest_start(message, CTA_PROTOINFO_TCP);
  nla_put_u8(message, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
  const nf_ct_tcp_flags flags{.flags = IP_CT_TCP_FLAG_BE_LIBERAL,
                              .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
  nla_put(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof flags, &flags);
  nla_put(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof flags, &flags);
  nla_nest_end(message, tcp);
  nla_nest_end(message, info);
}

}  // namespace

Result<Flows> Flows::open() {
  auto netlink = Nfnetlink::open();
  if (!netlink) return fail(netlink.error().code, flows_refused(netlink.error().code.value()));
  Flows flows(*std::move(netlink));
  LB_CHECK(flows.translated());
  return flows;
}

Result<std::vector<Flow>> Flows::list(bool translated) {
  LB_TRY(const Message message, nfnetlink_message(message_type(IPCTNL_MSG_CT_GET), NLM_F_DUMP));
  // Kernels before 5.15 take no notice of the filter, so what comes is looked at again.
  const std::uint32_t status = translated ? IPS_DST_NAT : 0;
  nla_put_u32(message.get(), CTA_STATUS, htonl(status));
  nla_put_u32(message.get(), CTA_STATUS_MASK, htonl(IPS_DST_NAT));
  std::vector<Flow> out;
  std::optional<Error> bad;
  const auto each = [&](std::span<const std::byte> bytes) {
    auto flow = decode_flow(bytes);
    if (!flow)
      bad = std::move(flow).error();
    else if (*flow && ((*flow)->status & IPS_DST_NAT) == status)
      out.push_back(**flow);
  };
  if (auto done = netlink_.request(message, each); !done)
    return fail(done.error().code, flows_refused(done.error().code.value()));
  if (bad) return tl::unexpected(*std::move(bad));
  return out;
}

Result<bool> Flows::forget(const Flow& flow) {
  LB_TRY(const Message message, message_about(IPCTNL_MSG_CT_DELETE, 0, flow.client));
  put_tuple(message.get(), CTA_TUPLE_ORIG, {flow.protocol, flow.client, flow.frontend});
  nla_put_u32(message.get(), CTA_ID, htonl(flow.id));
  if (flow.zone != 0) put_u16(message.get(), CTA_ZONE, flow.zone);
  const auto done = netlink_.request(message, [](std::span<const std::byte>) {});
  if (done) return true;
  if (done.error().code == std::errc::no_such_file_or_directory) return false;
  return fail(done.error().code, "end the flow from " + flow.client.to_string());
}

Result<bool> Flows::add_open(const Address& from, const Address& to) {
  constexpr int kNew = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
  LB_TRY(const Message message, message_about(IPCTNL_MSG_CT_NEW, kNew, from));
  put_tuple(message.get(), CTA_TUPLE_ORIG, {Protocol::Tcp, from, to});
  put_tuple(message.get(), CTA_TUPLE_REPLY, {Protocol::Tcp, to, from});
  put_open_tcp(message.get());
  const auto done = netlink_.request(message, [](std::span<const std::byte>) {});
  if (done) return true;
  if (done.error().code == std::errc::file_exists) return false;
  return fail(done.error().code, "make the connection from " + from.to_string() + " known");
}

}  // namespace lb::nft
