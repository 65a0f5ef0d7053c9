#include "base/own_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "support/temp_folder.h"

namespace lb {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Uid kAlice = 54'321;

class OwnFolder : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(parent_);
    fs::create_directory(state_);
    ::chmod(parent_.c_str(), 0755);
    ::chmod(state_.c_str(), 0750);
  }
  [[nodiscard]] std::string refusal() const {
    const auto checked = check_own_folder(state_);
    return checked ? "" : checked.error().message();
  }

  TempFolder folder_;
  std::string parent_ = folder_.file("parent");
  std::string state_ = parent_ + "/state";
};

TEST_F(OwnFolder, OfLbdsUserIsGood) {
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(check_own_folder(state_ + "/")) << "however it is written";
}

TEST_F(OwnFolder, OfAnotherUserIsRefusedWithWhatToDo) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chown(state_.c_str(), kAlice, 0), 0);
  EXPECT_THAT(refusal(), HasSubstr(state_ + " belongs to uid 54321"));
  EXPECT_THAT(refusal(), HasSubstr("`chown root " + state_ + "`"));
}

TEST_F(OwnFolder, InOneOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chown(parent_.c_str(), kAlice, 0), 0);
  EXPECT_THAT(refusal(), HasSubstr(parent_ + " belongs to uid 54321")) << "he may replace it";
}

TEST_F(OwnFolder, WritableByEverybodyIsRefused) {
  ASSERT_EQ(::chmod(state_.c_str(), 0757), 0);
  EXPECT_THAT(refusal(), HasSubstr(state_ + " can be written by everybody"));
  ASSERT_EQ(::chmod(state_.c_str(), 01757), 0);
  EXPECT_NE(refusal(), "") << "others may make files there";
}

TEST_F(OwnFolder, InOneThatEverybodyMayWriteIsGoodWhereOnlyOwnersRename) {
  ASSERT_EQ(::chmod(parent_.c_str(), 0777), 0);
  EXPECT_THAT(refusal(), HasSubstr(parent_ + " can be written by everybody"));
  ASSERT_EQ(::chmod(parent_.c_str(), 01777), 0);
  EXPECT_EQ(refusal(), "");
}

TEST_F(OwnFolder, WritableByAForeignGroupIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(::chown(state_.c_str(), 0, kAlice), 0);
  ASSERT_EQ(::chmod(state_.c_str(), 0770), 0);
  EXPECT_THAT(refusal(), HasSubstr("can be written by the group 54321"));
  EXPECT_TRUE(check_own_folder(state_, kAlice)) << "the one that may";
}

TEST_F(OwnFolder, LinkOfAnotherUserOnTheWayIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string link = folder_.file("link");
  fs::create_symlink(state_, link);
  EXPECT_TRUE(check_own_folder(link));
  ASSERT_EQ(::lchown(link.c_str(), kAlice, kAlice), 0);
  EXPECT_FALSE(check_own_folder(link));
}

TEST_F(OwnFolder, BehindALinkIsCheckedToo) {
  const std::string link = folder_.file("link");
  fs::create_symlink(state_, link);
  ASSERT_EQ(::chmod(parent_.c_str(), 0777), 0);
  EXPECT_FALSE(check_own_folder(link));
}

}  // namespace
}  // namespace lb
