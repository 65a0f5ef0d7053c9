#include "state/saved_verdicts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"
#include "unit/state/values.h"

namespace lb {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const Address kOverSix = Address::parse("[fd00::1]:80").value();

class SavedVerdictsTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::string path_ = folder_.file("health.json");
  const HealthVerdicts one_down_{{{kWeb, kOne}, {false, at(10), "connect: \xff refused"}},
                                 {{kWeb, kOverSix}, {true, at(20), ""}}};
};

TEST_F(SavedVerdictsTest, KeepWhatIsDownOverARestart) {
  SavedVerdicts verdicts = SavedVerdicts::open(path_).value();
  EXPECT_THAT(verdicts.down(), IsEmpty());
  EXPECT_TRUE(verdicts.set(one_down_));
  EXPECT_EQ(verdicts.down().size(), 1U);
  ASSERT_TRUE(verdicts.has_unsaved());
  ASSERT_TRUE(verdicts.unsaved()());
  EXPECT_FALSE(verdicts.has_unsaved());
  const SavedVerdicts again = SavedVerdicts::open(path_).value();
  ASSERT_EQ(again.down().size(), 1U);
  const auto& [key, verdict] = *again.down().begin();
  EXPECT_EQ(key.second, kOne);
  EXPECT_FALSE(verdict.up);
  EXPECT_EQ(verdict.since, at(10));
  EXPECT_THAT(verdict.error, HasSubstr("refused"));
}

TEST_F(SavedVerdictsTest, AnotherErrorOrAnotherUpIsNoNews) {
  SavedVerdicts verdicts = SavedVerdicts::open(path_).value();
  verdicts.set(one_down_);
  ASSERT_TRUE(verdicts.unsaved()());
  HealthVerdicts next = one_down_;
  next.at({kWeb, kOne}).error = "connect: timed out";
  next.erase({kWeb, kOverSix});
  EXPECT_FALSE(verdicts.set(next));
  EXPECT_FALSE(verdicts.has_unsaved());
  EXPECT_EQ(verdicts.down().at({kWeb, kOne}).error, "connect: timed out");
  next.at({kWeb, kOne}).since = at(30);
  EXPECT_TRUE(verdicts.set(next));
  EXPECT_TRUE(verdicts.set({}));
  EXPECT_THAT(verdicts.down(), IsEmpty());
}

TEST_F(SavedVerdictsTest, FailureToSaveIsTriedAgain) {
  SavedVerdicts verdicts = SavedVerdicts::open("/nowhere/health.json").value();
  verdicts.set(one_down_);
  EXPECT_FALSE(verdicts.unsaved()());
  verdicts.save_failed();
  EXPECT_TRUE(verdicts.has_unsaved());
}

TEST_F(SavedVerdictsTest, BrokenFileIsNamedAndKept) {
  folder_.write("health.json", R"({"version":1,"down":[{"service":"x"}]})");
  const auto broken = SavedVerdicts::open(path_);
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message(), HasSubstr("(kept as " + path_ + ".broken)"));
  EXPECT_THAT(SavedVerdicts::open(path_).value().down(), IsEmpty());
}

}  // namespace
}  // namespace lb
