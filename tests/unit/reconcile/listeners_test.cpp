#include "reconcile/listeners.h"

#include <gtest/gtest.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <span>

#include "support/desired_builder.h"

namespace lb {
namespace {

Listener listener(std::string_view at, bool v6only = false, std::uint64_t inode = 7) {
  const ServiceKey k = key(at);
  return {k.protocol, k.port, k.address, v6only, inode};
}

struct ReceivesCase {
  std::string name;
  Listener by;
  std::string to;
  bool receives;
};
class Receives : public testing::TestWithParam<ReceivesCase> {};

TEST_P(Receives, WhatTheKernelWouldDeliver) {
  EXPECT_EQ(receives(GetParam().by, key(GetParam().to)), GetParam().receives);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Receives,
    testing::Values(
        ReceivesCase{"same_address", listener("127.0.0.1:80"), "127.0.0.1:80", true},
        ReceivesCase{"other_address", listener("10.0.0.1:80"), "127.0.0.1:80", false},
        ReceivesCase{"other_port", listener("127.0.0.1:81"), "127.0.0.1:80", false},
        ReceivesCase{"other_protocol", listener("udp://127.0.0.1:80"), "127.0.0.1:80", false},
        ReceivesCase{"any_v4_takes_v4", listener("0.0.0.0:80"), "127.0.0.1:80", true},
        ReceivesCase{"any_v4_takes_no_v6", listener("0.0.0.0:80"), "[::1]:80", false},
        ReceivesCase{"any_v6_takes_v6", listener("[::]:80"), "[::1]:80", true},
        ReceivesCase{"any_v6_takes_v4_too", listener("[::]:80"), "127.0.0.1:80", true},
        ReceivesCase{"v6only_takes_no_v4", listener("[::]:80", true), "127.0.0.1:80", false},
        ReceivesCase{"v6only_takes_v6", listener("[::]:80", true), "[::1]:80", true}),
    [](const auto& c) { return c.param.name; });

TEST(FindConflict, NamesTheForeignListener) {
  const std::vector<Listener> listeners{listener("127.0.0.1:79"), listener("127.0.0.1:80")};
  const Listener* found = find_conflict(service("127.0.0.1:80"), ip("127.0.0.1"), listeners, {});
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(*found, listeners[1]);
}

TEST(FindConflict, ChecksEachAliasOnItsOwn) {
  const std::vector<Listener> listeners{listener("[::1]:80")};
  EXPECT_EQ(find_conflict(service("127.0.0.1:80"), ip("127.0.0.1"), listeners, {}), nullptr);
  EXPECT_NE(find_conflict(service("127.0.0.1:80"), ip("::1"), listeners, {}), nullptr);
}

TEST(FindConflict, BackendOfTheServiceIsNone) {
  const DesiredService web =
      service("127.0.0.1:80", {backend("127.0.0.1:80"), backend("10.0.0.2:80")});
  EXPECT_EQ(find_conflict(web, ip("127.0.0.1"), {listener("127.0.0.1:80")}, {}), nullptr);
}

TEST(FindConflict, WildcardListenerThatServesAsBackendIsNone) {
  const DesiredService loop = service("127.0.0.1:80", {backend("127.0.0.1:80")});
  EXPECT_EQ(find_conflict(loop, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {}), nullptr);
  const DesiredService host = service("127.0.0.1:80", {backend("10.0.0.1:80")});
  EXPECT_EQ(find_conflict(host, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {ip("10.0.0.1")}),
            nullptr);
}

TEST(FindConflict, BackendOnAnotherHostDoesNotExcuseAListener) {
  const DesiredService web = service("127.0.0.1:80", {backend("10.0.0.2:80")});
  EXPECT_NE(find_conflict(web, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {ip("10.0.0.1")}),
            nullptr);
}

// As the kernel tells of a socket: ports and addresses in network byte order, attributes behind.
struct DiagMessage {
  inet_diag_msg socket{};
  rtattr header{sizeof(rtattr) + 1, INET_DIAG_SKV6ONLY};
  std::uint8_t v6only = 0;
};

Listener parsed(const DiagMessage& message, Protocol protocol = Protocol::Tcp) {
  const auto found = parse_listener(protocol, std::as_bytes(std::span(&message, 1)));
  EXPECT_TRUE(found);
  return found.value_or(Listener{});
}

TEST(ParseListener, ReadsPortAndAddressOfIpv4) {
  DiagMessage message;
  message.socket.idiag_family = AF_INET;
  message.socket.idiag_state = TCP_LISTEN;
  message.socket.idiag_inode = 77;
  message.socket.id.idiag_sport = htons(8080);
  message.socket.id.idiag_src[0] = htonl(0x0a090001);
  EXPECT_EQ(parsed(message), listener("10.9.0.1:8080", false, 77));
}

TEST(ParseListener, ReadsWhetherAnIpv6SocketTakesIpv6Alone) {
  DiagMessage message;
  message.socket.idiag_family = AF_INET6;
  message.socket.idiag_state = TCP_LISTEN;
  message.socket.idiag_inode = 7;
  message.socket.id.idiag_sport = htons(443);
  message.socket.id.idiag_src[0] = htonl(0xfd090000);
  message.socket.id.idiag_src[3] = htonl(0x0000000b);
  EXPECT_EQ(parsed(message), listener("[fd09::b]:443"));
  message.v6only = 1;
  EXPECT_EQ(parsed(message), listener("[fd09::b]:443", true));
}

TEST(ParseListener, TakesOfUdpWhatIsBoundAndNotConnected) {
  DiagMessage message;
  message.socket.idiag_family = AF_INET;
  message.socket.idiag_inode = 7;
  message.socket.id.idiag_sport = htons(53);
  message.socket.idiag_state = TCP_CLOSE;
  EXPECT_EQ(parsed(message, Protocol::Udp), listener("udp://0.0.0.0:53"));
  EXPECT_FALSE(parse_listener(Protocol::Tcp, std::as_bytes(std::span(&message, 1))));
  message.socket.idiag_state = TCP_ESTABLISHED;
  EXPECT_FALSE(parse_listener(Protocol::Udp, std::as_bytes(std::span(&message, 1))));
}

TEST(ParseListener, RefusesWhatIsCutOff) {
  const std::array<std::byte, 10> bytes{};
  EXPECT_FALSE(parse_listener(Protocol::Tcp, bytes));
  EXPECT_FALSE(parse_listener(Protocol::Tcp, {}));
}

class ProcessNamesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(proc_ / "123/fd");
    std::filesystem::create_directories(proc_ / "45/fd");
    std::filesystem::create_symlink("socket:[77]", proc_ / "123/fd/3");
    std::filesystem::create_symlink("/dev/null", proc_ / "45/fd/0");
    std::ofstream(proc_ / "123/comm") << "nginx\n";
  }
  void TearDown() override { std::filesystem::remove_all(proc_); }

  std::filesystem::path proc_ =
      std::filesystem::temp_directory_path() / ("lb_proc_" + std::to_string(::getpid()));
};

TEST_F(ProcessNamesTest, NamesProcessAndPid) {
  ProcessNames names(proc_, std::chrono::hours(1));
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  EXPECT_EQ(names.of(78), "another process");
}

TEST_F(ProcessNamesTest, WhatTakesTooLongIsNamedLater) {
  ProcessNames names(proc_, std::chrono::milliseconds(-1));
  EXPECT_EQ(names.of(77), "another process");
  EXPECT_EQ(names.of(77), "another process");
  EXPECT_EQ(names.take_late(), 77U);
  EXPECT_EQ(names.take_late(), std::nullopt) << "once";
  names.set(77, ProcessNames::find(names.proc(), 77));
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  names.keep_only({});
  names.set(77, "late news of a listener that has gone");
  EXPECT_EQ(names.of(77), "another process");
}

TEST_F(ProcessNamesTest, AsksProcOncePerInode) {
  ProcessNames names(proc_, std::chrono::hours(1));
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  std::filesystem::remove_all(proc_ / "123");
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  names.keep_only({});
  EXPECT_EQ(names.of(77), "another process");
}

}  // namespace
}  // namespace lb
