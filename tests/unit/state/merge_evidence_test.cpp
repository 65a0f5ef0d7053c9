// Backends whose sources' evidence points elsewhere, and those that no connect can reach.
#include <gmock/gmock.h>

#include "unit/state/merge_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class MergeEvidence : public Merge {};

TEST_F(MergeEvidence, WhatFellSilentWithAllOthersIsStaleWhenItsOwnProbeFails) {
  find_down("10.0.0.1:80", at(5));
  turn({both_checked(BackendState::Unknown, Reason::NotSeen)}, at(10));
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 stale/not-seen 0", "10.0.0.2:80 unknown/not-seen 100"));
  EXPECT_EQ(web().backends[0].since, at(5));
}

TEST_F(MergeEvidence, OfThoseThatFailedTogetherTheOnesThatAnswerServe) {
  turn({both_checked(BackendState::Exited, Reason::Unreachable)}, at(10));
  EXPECT_EQ(web().condition, Condition::LastResort);
  find_down("10.0.0.1:80", at(15));
  EXPECT_EQ(again(at(20)).state.at(kWeb)->condition, Condition::LastResort);
  EXPECT_THAT(rows(),
              ElementsAre("10.0.0.1:80 down/probe-failed 0", "10.0.0.2:80 exited/unreachable 100"));
  find_down("10.0.0.2:80", at(15));
  EXPECT_EQ(again(at(20)).state.at(kWeb)->condition, Condition::FailOpen);
}

TEST_F(MergeEvidence, BackendsWhoseAddressNamesNoHostAreLeftOut) {
  for (const char* none : {"0.0.0.0:80", "[::]:80", "224.0.0.1:80", "255.255.255.255:80"}) {
    turn({offered("127.0.0.1:80", {listed(none)})}, at(10));
    EXPECT_THAT(rows(), IsEmpty()) << none;
    EXPECT_THAT(result_.warnings, ElementsAre(HasSubstr("is left out: it is ")));
  }
}

}  // namespace
}  // namespace lb
