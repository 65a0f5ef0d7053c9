#include "base/backoff.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesFrom100MillisecondsTo30Seconds) {
  Backoff backoff;
  std::vector<milliseconds::rep> waits;
  for (int i = 0; i < 11; ++i) waits.push_back(backoff.next(0).count());
  EXPECT_EQ(waits, (std::vector<milliseconds::rep>{100, 200, 400, 800, 1600, 3200, 6400, 12800,
                                                   25600, 30000, 30000}));
}

TEST(Backoff, RandomnessTakesAwayUpToHalf) {
  EXPECT_EQ(Backoff().next(UINT32_MAX), milliseconds(50));
  EXPECT_GE(Backoff().next(UINT32_MAX / 2), milliseconds(75));
}

TEST(Backoff, ResetStartsAgain) {
  Backoff backoff;
  (void)backoff.next(0);
  (void)backoff.next(0);
  backoff.reset();
  EXPECT_EQ(backoff.next(0), milliseconds(100));
  EXPECT_EQ(backoff.attempts(), 1U);
}

}  // namespace
}  // namespace lb
