// Entries as a 6.18 kernel sent them, and what is none.
#include "nft/flow_codec.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "base/file.h"

namespace lb::nft {
namespace {

std::string captured(const std::string& name) {
  return read_file(LB_TEST_DATA "/fuzz/conntrack_entry/" + name).value();
}

Result<std::optional<Flow>> decode(const std::string& bytes) {
  return decode_flow(std::as_bytes(std::span(bytes)));
}

TEST(FlowCodec, ReadsATcpFlowByIpv4) {
  const auto flow = decode(captured("tcp4_established")).value();
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->protocol, Protocol::Tcp);
  EXPECT_EQ(flow->client.to_string(), "10.9.0.1:55378");
  EXPECT_EQ(flow->frontend.to_string(), "10.9.0.1:80");
  EXPECT_EQ(flow->backend.to_string(), "127.0.0.1:9001");
  EXPECT_EQ(flow->answered.to_string(), "10.9.0.1:55378");
  EXPECT_NE(flow->id, 0u);
  EXPECT_TRUE(flow->is_open());
}

TEST(FlowCodec, ReadsATcpFlowByIpv6) {
  const auto flow = decode(captured("tcp6_established")).value();
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->frontend.to_string(), "[fd09::1]:80");
  EXPECT_EQ(flow->backend.to_string(), "[::1]:9001");
  EXPECT_TRUE(flow->is_open());
}

TEST(FlowCodec, ReadsUdpFlows) {
  EXPECT_EQ(decode(captured("udp4")).value()->protocol, Protocol::Udp);
  EXPECT_EQ(decode(captured("udp6")).value()->backend.to_string(), "[::1]:9001");
}

// The numbers of an entry are in network byte order, unlike the lengths and types around them.
TEST(FlowCodec, ReadsStatusIdAndZone) {
  struct {
    nlattr status{8, CTA_STATUS};
    std::uint32_t status_value = htonl(IPS_CONFIRMED | IPS_DST_NAT);
    nlattr id{8, CTA_ID};
    std::uint32_t id_value = htonl(4711);
    nlattr zone{6, CTA_ZONE};
    std::uint16_t zone_value = htons(5), padding = 0;
  } more;
  std::string bytes = captured("tcp4_established");
  bytes.append(reinterpret_cast<const char*>(&more), sizeof more);
  const auto flow = decode(bytes).value();
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->status, static_cast<std::uint32_t>(IPS_CONFIRMED | IPS_DST_NAT));
  EXPECT_EQ(flow->id, 4711u);
  EXPECT_EQ(flow->zone, 5u);
}

TEST(FlowCodec, TakesAClosedConnectionForNoOpenOne) {
  const auto flow = decode(captured("tcp4_time_wait")).value();
  ASSERT_TRUE(flow);
  EXPECT_FALSE(flow->is_open());
}

TEST(FlowCodec, LeavesOtherProtocolsOut) {
  EXPECT_EQ(decode(captured("icmp4")).value(), std::nullopt);
}

TEST(FlowCodec, RefusesWhatIsCutOff) {
  // The addresses and ports are in the first 120 bytes; what follows may be missing.
  const std::string whole = captured("tcp4_established");
  for (std::size_t size = 0; size < 108; ++size) {
    const auto flow = decode(whole.substr(0, size));
    ASSERT_FALSE(flow) << size;
    EXPECT_EQ(flow.error().code.value(), EBADMSG);
  }
}

TEST(FlowCodec, RefusesTwoProtocolsInOneFlow) {
  std::string bytes = captured("tcp4_established");
  bytes[36] = 17;  // of the original direction
  EXPECT_FALSE(decode(bytes));
}

}  // namespace
}  // namespace lb::nft
