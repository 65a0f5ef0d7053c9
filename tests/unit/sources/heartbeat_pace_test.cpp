#include "sources/heartbeat_pace.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

class HeartbeatPaceTest : public testing::Test {
 protected:
  std::chrono::milliseconds after(std::chrono::milliseconds gap, bool changed = false) {
    now_ += gap;
    return pace_.after(changed, now_);
  }
  void storm() {
    for (int i = 0; i < 50; ++i) (void)after(10ms);
    ASSERT_EQ(after(10ms), 20ms);
  }
  HeartbeatPace::SteadyTime now_{1000h};
  HeartbeatPace pace_;
};

TEST_F(HeartbeatPaceTest, LooksAtOnceAtHeartbeatsThatComeNowAndThen) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(after(101ms), 0ms);
}

TEST_F(HeartbeatPaceTest, LetsAStormGather) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(after(10ms), 0ms) << i;
  EXPECT_EQ(after(10ms), 20ms);
  EXPECT_EQ(after(30ms), 20ms);
}

TEST_F(HeartbeatPaceTest, IsAwakeAfterAChange) {
  storm();
  EXPECT_EQ(after(10ms, true), 0ms);
  EXPECT_EQ(after(10ms), 0ms);
}

TEST_F(HeartbeatPaceTest, EndsWithTheStorm) {
  storm();
  EXPECT_EQ(after(150ms), 0ms);
}

}  // namespace
}  // namespace lb
