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

#include "reconcile/process_names.h"
#include "support/desired_builder.h"

namespace lb {
namespace {

Listener listener(std::string_view at, bool v6only = false, std::uint64_t inode = 7) {
  const ServiceKey k = key(at);
  return {k.protocol, k.port, k.address, v6only, inode, 0};
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

// Null: there is none.
const Listener* first_conflict(const DesiredService& service, const IpAddress& frontend,
                               const std::vector<Listener>& listeners,
                               const std::vector<IpAddress>& local) {
  const auto found = find_conflicts(service, frontend, listeners, local);
  return found.empty() ? nullptr : found.front();
}

TEST(FindConflict, NamesTheForeignListener) {
  const std::vector<Listener> listeners{listener("127.0.0.1:79"), listener("127.0.0.1:80")};
  const auto found = find_conflicts(service("127.0.0.1:80"), ip("127.0.0.1"), listeners, {});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(*found[0], listeners[1]);
}

TEST(FindConflict, ChecksEachAliasOnItsOwn) {
  const std::vector<Listener> listeners{listener("[::1]:80")};
  EXPECT_EQ(first_conflict(service("127.0.0.1:80"), ip("127.0.0.1"), listeners, {}), nullptr);
  EXPECT_NE(first_conflict(service("127.0.0.1:80"), ip("::1"), listeners, {}), nullptr);
}

TEST(FindConflict, BackendOfTheServiceIsNone) {
  const DesiredService web =
      service("127.0.0.1:80", {backend("127.0.0.1:80"), backend("10.0.0.2:80")});
  EXPECT_EQ(first_conflict(web, ip("127.0.0.1"), {listener("127.0.0.1:80")}, {}), nullptr);
}

TEST(FindConflict, WildcardListenerThatServesAsBackendIsNone) {
  const DesiredService loop = service("127.0.0.1:80", {backend("127.0.0.1:80")});
  EXPECT_EQ(first_conflict(loop, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {}), nullptr);
  const DesiredService host = service("127.0.0.1:80", {backend("10.0.0.1:80")});
  EXPECT_EQ(first_conflict(host, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {ip("10.0.0.1")}),
            nullptr);
}

TEST(FindConflict, BackendOnAnotherHostDoesNotExcuseAListener) {
  const DesiredService web = service("127.0.0.1:80", {backend("10.0.0.2:80")});
  EXPECT_NE(first_conflict(web, ip("127.0.0.1"), {listener("0.0.0.0:80")}, {ip("10.0.0.1")}),
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
  message.socket.idiag_uid = 99;
  Listener expected = listener("10.9.0.1:8080", false, 77);
  expected.uid = 99;
  EXPECT_EQ(parsed(message), expected);
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

std::string named(const std::string& process) {
  return process + " of " + name_user(4'000'000'000);
}

TEST_F(ProcessNamesTest, WalkFindsProcessAndUserOfAllSocketsAtOnce) {
  std::filesystem::create_symlink("socket:[78]", proc_ / "45/fd/1");
  std::ofstream(proc_ / "45/comm") << "mas\nter\n";
  const SocketNames found = find_processes(
      proc_, {{77, 4'000'000'000}, {78, 4'000'000'000}, {79, 0}}, std::chrono::hours(1));
  EXPECT_EQ(found.at(77), "nginx (pid 123) of uid 4000000000");
  EXPECT_EQ(found.at(78), named("mas\\x0ater (pid 45)"));
  EXPECT_EQ(found.at(79), "another process of " + name_user(0));
}

TEST_F(ProcessNamesTest, WalkThatTakesTooLongNamesTheUser) {
  const SocketNames found = find_processes(proc_, {{77, 0}}, std::chrono::milliseconds(-1));
  EXPECT_EQ(found.at(77), "another process of " + name_user(0));
}

class AskedNames : public testing::Test {
 protected:
  ProcessNames names_;
  ProcessNames::Time now_{std::chrono::hours(1)};
};

TEST_F(AskedNames, KnowsTheUserAtOnceAndTheProcessAfterAWalk) {
  Listener web = listener("127.0.0.1:80");
  web.uid = 33;
  EXPECT_EQ(names_.of(web), "another process of uid 33");
  EXPECT_EQ(names_.take_wanted(now_), (std::map<std::uint64_t, Uid>{{7, 33}}));
  EXPECT_TRUE(names_.take_wanted(now_).empty()) << "one walk at a time";
  names_.found({{7, "nginx (pid 123)"}}, now_, now_);
  EXPECT_EQ(names_.of(web), "nginx (pid 123)");
  EXPECT_TRUE(names_.take_wanted(now_).empty());
}

// An unprivileged user binds a port again and again.
TEST_F(AskedNames, OnePortIsWalkedForOnceInAMinute) {
  int walks = 0;
  for (std::uint64_t inode = 1; inode <= 240; ++inode) {
    (void)names_.of(listener("127.0.0.1:80", false, inode));
    if (const auto wanted = names_.take_wanted(now_); !wanted.empty()) {
      ++walks;
      names_.found({}, now_, now_);
    }
    now_ += std::chrono::milliseconds(250);
    names_.keep_only({}, now_);
  }
  EXPECT_EQ(walks, 1);
  (void)names_.of(listener("127.0.0.1:80", false, 999));
  EXPECT_EQ(names_.take_wanted(now_).size(), 1U) << "the minute is over";
}

TEST_F(AskedNames, LongWalkIsFollowedByALongerRest) {
  (void)names_.of(listener("127.0.0.1:80", false, 1));
  (void)names_.take_wanted(now_);
  (void)names_.of(listener("127.0.0.1:81", false, 2));
  const auto began = now_;
  now_ += std::chrono::seconds(3);
  names_.found({}, began, now_);
  EXPECT_TRUE(names_.take_wanted(now_ + std::chrono::seconds(29)).empty());
  EXPECT_EQ(names_.take_wanted(now_ + std::chrono::seconds(30)).size(), 1U);
}

TEST_F(AskedNames, ForgetsListenersThatHaveGone) {
  const Listener web = listener("127.0.0.1:80");
  (void)names_.of(web);
  names_.keep_only({}, now_);
  EXPECT_TRUE(names_.take_wanted(now_).empty());
  (void)names_.of(web);
  (void)names_.take_wanted(now_);
  names_.found({{7, "nginx (pid 123)"}}, now_, now_);
  names_.keep_only({}, now_);
  EXPECT_EQ(names_.of(web), "another process of uid 0");
}

}  // namespace
}  // namespace lb
