#include "base/upkeep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <spdlog/spdlog.h>

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class UpkeepTest : public testing::Test {
 protected:
  UpkeepTest() {
    spdlog::set_level(spdlog::level::off);
    upkeep_.add("the table", seconds(5), [this]() -> Result<std::size_t> {
      ++looks_;
      if (broken_) return fail("no room");
      return std::exchange(differs_, 0);
    });
  }
  void after(milliseconds time) { upkeep_.run(now_ += time); }

  Upkeep upkeep_{"test"};
  Upkeep::Time now_{std::chrono::hours(1)};
  int looks_ = 0;
  bool broken_ = false;
  std::size_t differs_ = 0;
};

TEST_F(UpkeepTest, LooksAtItsPace) {
  after(seconds(0));
  EXPECT_EQ(looks_, 1);
  after(seconds(4));
  EXPECT_EQ(looks_, 1);
  after(seconds(1));
  EXPECT_EQ(looks_, 2);
}

TEST_F(UpkeepTest, CountsWhatWasPutBack) {
  after(seconds(0));
  EXPECT_THAT(upkeep_.repairs(), IsEmpty());
  differs_ = 2;
  after(seconds(5));
  after(seconds(5));
  EXPECT_THAT(upkeep_.repairs(),
              ElementsAre(HasSubstr("the table: changed from outside and put back 2 times")));
}

TEST_F(UpkeepTest, AFailureIsAProblemUntilItIsRightAgain) {
  broken_ = true;
  after(seconds(0));
  EXPECT_THAT(upkeep_.problems(), ElementsAre("the table: no room"));
  broken_ = false;
  after(milliseconds(100));
  EXPECT_THAT(upkeep_.problems(), IsEmpty());
}

TEST_F(UpkeepTest, AFailureIsTriedAgainSoonAndThenLessOften) {
  broken_ = true;
  std::vector<milliseconds::rep> waits;
  after(seconds(0));
  for (int seen = looks_; waits.size() < 9;) {
    milliseconds waited{0};
    for (; looks_ == seen; waited += milliseconds(100)) after(milliseconds(100));
    seen = looks_;
    waits.push_back(waited.count());
  }
  EXPECT_THAT(waits, ElementsAre(100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000));
}

TEST_F(UpkeepTest, OneThatFailsKeepsNoOtherFromItsTurn) {
  int others = 0;
  upkeep_.add("another", seconds(1), [&]() -> Result<std::size_t> {
    ++others;
    return 0;
  });
  broken_ = true;
  after(seconds(0));
  after(seconds(1));
  EXPECT_EQ(others, 2);
}

}  // namespace
}  // namespace lb
