#include "api/caller.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/request.h"
#include "base/unique_fd.h"

namespace lb {
namespace {

constexpr Uid kLbd = 990;

Peer alice(std::vector<Gid> groups) {
  return {.uid = 1000, .pid = 77, .groups = std::move(groups)};
}

TEST(RightOf, RootAndLbdsUserMayDoEverything) {
  EXPECT_EQ(right_of({.uid = 0, .pid = 1, .groups = {}}, {}, kLbd), Right::All);
  EXPECT_EQ(right_of({.uid = kLbd, .pid = 1, .groups = {}}, {}, kLbd), Right::All);
}

TEST(RightOf, OthersHaveThatOfTheirGroups) {
  const ApiAccess access{.group = 27, .read_group = 50};
  EXPECT_EQ(right_of(alice({1000, 27}), access, kLbd), Right::Drain);
  EXPECT_EQ(right_of(alice({50}), access, kLbd), Right::Read);
  EXPECT_EQ(right_of(alice({50, 27}), access, kLbd), Right::Drain);
  EXPECT_EQ(right_of(alice({1000}), access, kLbd), Right::None);
  EXPECT_EQ(right_of(alice({50}), {}, kLbd), Right::None);
}

TEST(PeerOf, IsWhoConnected) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd one(ends[0]);
  const UniqueFd other(ends[1]);
  const auto peer = peer_of(one.get());
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_EQ(peer->uid, ::geteuid());
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->groups.back(), ::getegid());
  EXPECT_EQ(describe_peer({.uid = 1000, .pid = 77, .groups = {}}, "a\nb"),
            "uid=1000 name=a\\x0ab pid=77");
}

TEST(RightFor, WhatChangesSomethingTakesMoreThanReading) {
  EXPECT_EQ(right_for(ListCall{}), Right::Read);
  EXPECT_EQ(right_for(ProgressCall{}), Right::Read);
  EXPECT_EQ(right_for(FleetProgressCall{}), Right::Read);
  for (const ApiCall& call : {ApiCall(DrainCall{}), ApiCall(UndrainCall{}), ApiCall(AcceptCall{}),
                              ApiCall(FleetDrainCall{}), ApiCall(FleetUndrainCall{})})
    EXPECT_EQ(right_for(call), Right::Drain);
}

}  // namespace
}  // namespace lb
