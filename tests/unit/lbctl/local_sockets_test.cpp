#include "tools/lbctl/local_sockets.h"

#include <gtest/gtest.h>
#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <bit>
#include <span>
#include <string>

namespace lb::lbctl {
namespace {

static_assert(std::endian::native == std::endian::little, "the tables below are");

constexpr std::string_view kFour =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 0100007F:1F57 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"  // LISTEN
    "   1: 0100007F:1F57 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0\n"  // EST
    "   2: 0100007F:C001 0100007F:1F57 01 00000000:00000000 00:00000000 00000000     0\n"  // client
    "   3: 0100007F:1F57 0100007F:C002 03 00000000:00000000 00:00000000 00000000     0\n"  // SYN_RECV
    "   4: 0100007F:1F57 0100007F:C003 04 00000010:00000000 00:00000000 00000000     0\n"  // FIN_WAIT1
    "   5: 0100007F:1F57 0100007F:C004 05 00000000:00000000 00:00000000 00000000     0\n"  // FIN_WAIT2
    "   6: 0100007F:1F57 0100007F:C005 06 00000000:00000000 00:00000000 00000000     0\n"  // TIME_WAIT
    "   7: 0100007F:1F57 0100007F:C006 08 00000000:00000000 00:00000000 00000000     0\n"  // CLOSE_WAIT
    "   8: 0100007F:1F58 0100007F:C007 01 00000000:00000000 00:00000000 00000000     0\n"  // port
    "   9: 0200007F:1F57 0100007F:C008 01 00000000:00000000 00:00000000 00000000     0\n"  // address
    "  10: 00000000:1F59 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n";  // any

constexpr std::string_view kSix =
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000000000000:1F5A 00000000000000000000000000000000:0000 0A "
    "00000000\n"
    "   1: 00000000000000000000000001000000:1F57 00000000000000000000000001000000:C001 01 "
    "00000000\n"
    "   2: 0000000000000000FFFF00000100007F:1F57 0000000000000000FFFF00000100007F:C009 01 "
    "00000000\n";

SocketCount count(std::string_view table, std::string_view at) {
  return count_sockets(table, *Address::parse(at));
}

TEST(LocalSockets, CountsTheServersEndsThatAreNotOver) {
  EXPECT_EQ(count(kFour, "127.0.0.1:8023"), (SocketCount{.open = 4, .listening = true}));
  EXPECT_EQ(count(kFour, "127.0.0.2:8023"), (SocketCount{.open = 1, .listening = false}));
  EXPECT_EQ(count(kFour, "127.0.0.1:8026"), SocketCount{});
}

TEST(LocalSockets, ListenersOnAnyAddressAreSeen) {
  EXPECT_TRUE(count(kFour, "10.0.0.1:8025").listening);
  EXPECT_FALSE(count(kFour, "[::1]:8025").listening);
  EXPECT_TRUE(count(kSix, "10.0.0.1:8026").listening);
  EXPECT_TRUE(count(kSix, "[::1]:8026").listening);
}

TEST(LocalSockets, BothFamiliesOfADualStackServer) {
  EXPECT_EQ(count(kSix, "[::1]:8023").open, 1U);
  EXPECT_EQ(count(kSix, "127.0.0.1:8023").open, 1U);
}

TEST(LocalSockets, LinesThatMakeNoSenseAreNone) {
  for (const std::string_view table :
       {"", "\n\n", "0:", "0: 0100007F 1 01", "0: 0100007F:1F57", "0: 0100007F:1F57 0 zz",
        "0: XX00007F:1F57 0 01", "0: 0100007F:1F57F 0 01", "no newline at all"})
    EXPECT_EQ(count(table, "127.0.0.1:8023"), SocketCount{}) << table;
}

TEST(LocalSockets, SockDiagTellsTheSame) {
  inet_diag_msg message{};
  message.idiag_family = AF_INET;
  message.idiag_state = TCP_ESTABLISHED;
  message.id.idiag_sport = htons(8023);
  message.id.idiag_src[0] = htonl(0x7f000001);
  const auto count = [&](std::string_view at) {
    return count_socket(std::as_bytes(std::span(&message, 1)), *Address::parse(at));
  };
  EXPECT_EQ(count("127.0.0.1:8023").open, 1U);
  EXPECT_EQ(count("127.0.0.2:8023").open, 0U);
  EXPECT_EQ(count("127.0.0.1:8024").open, 0U);
  message.idiag_state = TCP_TIME_WAIT;
  EXPECT_EQ(count("127.0.0.1:8023"), SocketCount{});
  message.idiag_family = AF_INET6;  // ::
  message.idiag_state = TCP_LISTEN;
  message.id.idiag_src[0] = 0;
  EXPECT_EQ(count("10.0.0.1:8023"), (SocketCount{.open = 0, .listening = true}));
  const std::span<const std::byte> cut = std::as_bytes(std::span(&message, 1)).first(20);
  EXPECT_EQ(count_socket(cut, *Address::parse("10.0.0.1:8023")), SocketCount{});
}

TEST(LocalSockets, LoopbackIsThisMachineAndADocumentationAddressIsNot) {
  EXPECT_EQ(is_local(*IpAddress::parse("127.3.2.1")), true);
  EXPECT_EQ(is_local(*IpAddress::parse("::1")), true);
  EXPECT_EQ(is_local(*IpAddress::parse("192.0.2.77")), false);
  EXPECT_EQ(is_local(*IpAddress::parse("2001:db8::77")), false);
}

}  // namespace
}  // namespace lb::lbctl
