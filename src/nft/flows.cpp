#include "nft/flows.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
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

void put_original(nl_msg* message, const Flow& flow) {
  nlattr* tuple = nla_nest_start(message, CTA_TUPLE_ORIG);
  nlattr* ip = nla_nest_start(message, CTA_TUPLE_IP);
  put_address(message, flow.client.ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  put_address(message, flow.frontend.ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  nla_nest_end(message, ip);
  nlattr* proto = nla_nest_start(message, CTA_TUPLE_PROTO);
  nla_put_u8(message, CTA_PROTO_NUM, flow.protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP);
  put_u16(message, CTA_PROTO_SRC_PORT, flow.client.port);
  put_u16(message, CTA_PROTO_DST_PORT, flow.frontend.port);
  nla_nest_end(message, proto);
  nla_nest_end(message, tuple);
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
  LB_TRY(const Message message, nfnetlink_message(message_type(IPCTNL_MSG_CT_DELETE), 0));
  // The family decides how the kernel reads the addresses.
  static_cast<nfgenmsg*>(nlmsg_data(nlmsg_hdr(message.get())))->nfgen_family =
      flow.client.ip.is_v4() ? AF_INET : AF_INET6;
  put_original(message.get(), flow);
  nla_put_u32(message.get(), CTA_ID, htonl(flow.id));
  if (flow.zone != 0) put_u16(message.get(), CTA_ZONE, flow.zone);
  const auto done = netlink_.request(message, [](std::span<const std::byte>) {});
  if (done) return true;
  if (done.error().code == std::errc::no_such_file_or_directory) return false;
  return fail(done.error().code, "end the flow from " + flow.client.to_string());
}

}  // namespace lb::nft
