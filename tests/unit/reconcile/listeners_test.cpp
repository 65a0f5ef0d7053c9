#include "reconcile/listeners.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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
  ProcessNames names(proc_);
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  EXPECT_EQ(names.of(78), "another process");
}

TEST_F(ProcessNamesTest, AsksProcOncePerInode) {
  ProcessNames names(proc_);
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  std::filesystem::remove_all(proc_ / "123");
  EXPECT_EQ(names.of(77), "nginx (pid 123)");
  names.keep_only({});
  EXPECT_EQ(names.of(77), "another process");
}

}  // namespace
}  // namespace lb
