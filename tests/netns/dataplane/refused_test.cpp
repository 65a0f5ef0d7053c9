// A kernel that refuses one of the programs: lbd runs without it, says what is lost, and everything else
// works. Each program in turn, by the loader's seam.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <filesystem>

#include <gmock/gmock.h>

#include "ebpf/hooks.h"
#include "fixture.h"

namespace lb::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kService = "127.0.0.1:5000";
constexpr auto kOne = "127.0.0.1:7001";
constexpr auto kTwo = "127.0.0.1:7002";

class Refused : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    dataplane_.reset();
    ASSERT_TRUE(detach_ebpf(sandbox_->bpffs()));
    for (const char* backend : {kOne, kTwo})
      servers_.push_back(std::make_unique<Server>(backend, backend));
  }
  void open_without(const std::set<std::string>& hooks) {
    EbpfOptions options;
    options.refuse = hooks;
    open(options);
  }
  void publish_both() { publish(kService, {{kOne}, {kTwo}}); }
  std::uint64_t sockets(const char* backend) {
    const auto count = dataplane_->count_sockets(*ServiceKey::parse(kService), address(backend));
    EXPECT_TRUE(count) << count.error().message();
    return count.value_or(99);
  }
  // What is listed of a backend that was removed goes with its last connection.
  bool is_forgotten(const char* backend) {
    return eventually([&] { return dataplane_->collect() && !observe(kService, backend); },
                      std::chrono::seconds(10));
  }
  std::vector<std::unique_ptr<Server>> servers_;
};

TEST_F(Refused, NothingIsLostWhereNothingIsRefused) {
  open();
  EXPECT_THAT(dataplane_->info().lost, IsEmpty());
  EXPECT_TRUE(dataplane_->info().counts_connections);
}

TEST_F(Refused, EachOptionalProgramInTurnLeavesTheOthersAtWork) {
  for (const bpf::Hook& hook : bpf::all_hooks()) {
    if (hook.loss == nullptr) continue;
    SCOPED_TRACE(hook.section);
    open_without({hook.section});
    ASSERT_NE(dataplane_, nullptr);
    EXPECT_THAT(dataplane_->info().lost,
                ElementsAre(testing::AllOf(Field(&LostAbility::what, hook.section),
                                           Field(&LostAbility::loss, hook.loss))));
    publish_both();
    const UniqueFd held = connect_to(kService);
    EXPECT_TRUE(held);
    EXPECT_FALSE(ask(kService).starts_with("errno"));
    publish(kService, {{kOne}});
    settle();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(kService), kOne);
  }
}

TEST_F(Refused, AnIndispensableProgramIsNamed) {
  for (const char* hook : {"cgroup/connect4", "cgroup/connect6"}) {
    EbpfOptions options;
    options.cgroup = sandbox_->cgroup();
    options.bpffs = sandbox_->bpffs();
    options.refuse = {hook};
    const auto opened = open_ebpf_dataplane(io_, options);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().message(), HasSubstr(hook));
    EXPECT_THAT(opened.error().message(), HasSubstr("cannot do without"));
  }
}

TEST_F(Refused, WithoutCountingConnectionsAreUnknownAndTheChoiceIsRandom) {
  open_without({bpf::kCountingHook});
  publish_both();
  EXPECT_FALSE(dataplane_->info().counts_connections);
  std::vector<UniqueFd> held;
  for (int i = 0; i < 64; ++i) held.push_back(connect_to(kService));
  EXPECT_EQ(observe(kService, kOne)->active_connections, std::nullopt);
  // Exactly 32 each is what least connections would give; 64 fair coins do that once in ten times, and
  // four times in a row once in ten thousand.
  int even = 0;
  for (int round = 0; round < 4; ++round) {
    const int before = total(kService, kOne);
    for (int i = 0; i < 64; ++i) held.push_back(connect_to(kService));
    even += total(kService, kOne) - before == 32;
  }
  EXPECT_LT(even, 4);
  EXPECT_GT(total(kService, kOne), 0);
  EXPECT_GT(total(kService, kTwo), 0);
}

// Drains look at the sockets: by the iterator, and where that is refused as well by sock_diag.
class RefusedCounting : public Refused, public testing::WithParamInterface<bool> {
 protected:
  [[nodiscard]] std::set<std::string> refused() const {
    std::set<std::string> out{bpf::kCountingHook};
    if (GetParam()) out.insert(bpf::kTcpWalkHook);
    return out;
  }
};

TEST_P(RefusedCounting, DrainsFindOpenConnectionsAmongTheSockets) {
  open_without(refused());
  publish(kService, {{kOne}});
  UniqueFd a = connect_to(kService), b = connect_to("[::1]:5000");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(sockets(kOne), 2U);
  publish(kService, {{kOne, 0}, {kTwo}});
  a.reset();
  EXPECT_TRUE(eventually([&] { return sockets(kOne) == 1; }));
  b.reset();
  EXPECT_TRUE(eventually([&] { return sockets(kOne) == 0; }));
}

TEST_P(RefusedCounting, ARemovedBackendIsKnownUntilItsLastConnectionHasGone) {
  open_without(refused());
  publish(kService, {{kOne}});
  UniqueFd held = connect_to(kService);
  publish(kService, {{kTwo}});
  const auto until = std::chrono::steady_clock::now() + 2 * std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < until) {
    ASSERT_TRUE(dataplane_->collect());
    ASSERT_TRUE(observe(kService, kOne));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  open_without(refused());  // a restart does not forget it either
  ASSERT_TRUE(dataplane_->collect());
  EXPECT_TRUE(observe(kService, kOne));
  held.reset();
  EXPECT_TRUE(is_forgotten(kOne));
}

INSTANTIATE_TEST_SUITE_P(Ways, RefusedCounting, testing::Values(false, true),
                         [](const auto& way) { return way.param ? "sock_diag" : "iterator"; });

TEST_F(Refused, WithoutTheTcpWalkCountsAreRightAfterARestart) {
  open_without({bpf::kTcpWalkHook});
  publish(kService, {{kOne}});
  const UniqueFd held = connect_to(kService);
  EXPECT_TRUE(eventually([&] { return active(kService, kOne) == 1; }));
  // Connections that come while the hooks are away are found by the list of sockets.
  dataplane_.reset();
  std::filesystem::remove(sandbox_->bpffs() + "/links/state");
  std::vector<UniqueFd> uncounted;
  for (int i = 0; i < 3; ++i) uncounted.push_back(connect_to(kService));
  open_without({bpf::kTcpWalkHook});
  EXPECT_TRUE(eventually([&] { return active(kService, kOne) == 4; })) << active(kService, kOne);
  uncounted.clear();
  EXPECT_TRUE(eventually([&] { return active(kService, kOne) == 1; })) << active(kService, kOne);
}

TEST_F(Refused, ConnectionsAreNotEndedByGuess) {
  open_without({bpf::kTcpWalkHook});
  publish(kService, {{kOne}});
  const UniqueFd held = connect_to(kService), direct = connect_to(kOne);
  const auto ended = dataplane_->terminate(*ServiceKey::parse(kService), address(kOne));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, std::errc::not_supported);
  EXPECT_THAT(ended.error().message(), HasSubstr("iter/tcp"));
}

TEST_F(Refused, WhatAnEarlierLbdAttachedThereIsTakenOut) {
  open();
  publish_both();
  ASSERT_TRUE(std::filesystem::exists(sandbox_->bpffs() + "/links/state"));
  open_without({bpf::kCountingHook, "cgroup/getpeername4"});
  EXPECT_FALSE(std::filesystem::exists(sandbox_->bpffs() + "/links/state"));
  EXPECT_FALSE(std::filesystem::exists(sandbox_->bpffs() + "/links/getpeername4"));
  const UniqueFd held = connect_to(kService);
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  ASSERT_EQ(::getpeername(held.get(), reinterpret_cast<sockaddr*>(&peer), &length), 0);
  EXPECT_NE(ntohs(peer.sin_port), 5000);
  open();  // and a kernel that accepts them again gets them again
  EXPECT_THAT(dataplane_->info().lost, IsEmpty());
  EXPECT_TRUE(eventually([&] { return active(kService, kOne) + active(kService, kTwo) == 1; }));
}

TEST_F(Refused, HooksThatAreLostAreNotRepaired) {
  open_without({"cgroup/recvmsg4", bpf::kCountingHook});
  publish_both();
  std::filesystem::remove(sandbox_->bpffs() + "/links/connect4");
  EXPECT_TRUE(eventually(
      [&] {
        return dataplane_->collect() &&
               std::filesystem::exists(sandbox_->bpffs() + "/links/connect4");
      },
      std::chrono::seconds(10)));
  EXPECT_FALSE(std::filesystem::exists(sandbox_->bpffs() + "/links/state"));
  EXPECT_FALSE(ask(kService).starts_with("errno"));
}

}  // namespace
}  // namespace lb::test
