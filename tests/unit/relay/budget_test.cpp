#include "relay/budget.h"

#include <gtest/gtest.h>

namespace lb::relay {
namespace {

using Ids = std::vector<Budget::Id>;

TEST(Budget, TheLargestGivesUpItsPartForTheSmall) {
  Budget budget(100, 10);
  EXPECT_EQ(budget.hold(1, 60), Ids{});
  EXPECT_EQ(budget.hold(2, 30), Ids{});
  EXPECT_EQ(budget.hold(3, 20), Ids{1});
  EXPECT_EQ(budget.total(), 50U);
  EXPECT_EQ(budget.hold(2, 90), Ids{2}) << "it may be the one that asks";
  EXPECT_EQ(budget.total(), 20U);
}

TEST(Budget, ASmallPartCountsForNothing) {
  Budget budget(20, 10);
  for (Budget::Id id = 0; id < 1000; ++id) EXPECT_EQ(budget.hold(id, 10), Ids{});
  EXPECT_EQ(budget.total(), 0U);
}

TEST(Budget, WhatIsReleasedIsThereForOthers) {
  Budget budget(20, 0);
  EXPECT_EQ(budget.hold(1, 20), Ids{});
  budget.release(1);
  budget.release(1);
  EXPECT_EQ(budget.hold(2, 20), Ids{});
  EXPECT_EQ(budget.hold(2, 5), Ids{});
  EXPECT_EQ(budget.total(), 5U);
}

}  // namespace
}  // namespace lb::relay
