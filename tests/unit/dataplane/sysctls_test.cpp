#include "dataplane/sysctls.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "support/temp_folder.h"

namespace lb {
namespace {

constexpr auto kName = "net/ipv4/vs/conntrack";

class SysctlsTest : public testing::Test {
 protected:
  SysctlsTest() {
    std::filesystem::create_directories(proc_.file("net/ipv4/vs"));
    proc_.write(kName, "0\n");
  }
  Sysctls open() { return *Sysctls::open(state_.file("sysctls.json"), proc_.path()); }
  [[nodiscard]] bool kernel_has(const std::string& value) const {
    return proc_.read(kName).substr(0, 1) == value;
  }

  TempFolder proc_, state_;
};

TEST_F(SysctlsTest, RestoreBringsBackWhatWasBeforeTheFirstChange) {
  ASSERT_TRUE(open().set(kName, "1"));
  ASSERT_TRUE(open().set(kName, "2"));  // a later process
  EXPECT_EQ(open().before(kName), "0");
  ASSERT_TRUE(open().restore());
  EXPECT_TRUE(kernel_has("0"));
  EXPECT_FALSE(state_.has("sysctls.json"));
}

TEST_F(SysctlsTest, TellsWhetherSomebodyHadChangedIt) {
  Sysctls sysctls = open();
  EXPECT_EQ(*sysctls.set(kName, "1"), false);
  EXPECT_EQ(*sysctls.set(kName, "1"), false);
  proc_.write(kName, "0\n");
  EXPECT_EQ(*sysctls.set(kName, "1"), true);
  EXPECT_TRUE(kernel_has("1"));
}

TEST_F(SysctlsTest, WhatIsSoAlreadyIsNeitherWrittenNorRemembered) {
  ASSERT_TRUE(open().set(kName, "0"));
  EXPECT_EQ(open().before(kName), std::nullopt);
  EXPECT_FALSE(state_.has("sysctls.json"));
}

TEST_F(SysctlsTest, WhatSomebodyElseChangedSinceIsHis) {
  ASSERT_TRUE(open().set(kName, "1"));
  proc_.write(kName, "7\n");
  ASSERT_TRUE(open().restore());
  EXPECT_TRUE(kernel_has("7"));
}

TEST_F(SysctlsTest, ASettingThatIsGoneIsNoErrorOfRestore) {
  ASSERT_TRUE(open().set(kName, "1"));
  std::filesystem::remove(proc_.file(kName));
  EXPECT_TRUE(open().restore());
}

TEST_F(SysctlsTest, ASettingThatTheKernelLacksIsNamed) {
  const auto done = open().set("net/ipv4/nothing", "1");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, std::errc::no_such_file_or_directory);
  EXPECT_THAT(done.error().message(), testing::HasSubstr("net/ipv4/nothing"));
}

TEST_F(SysctlsTest, NotesOfAnotherBootAreVoid) {
  state_.write(
      "sysctls.json",
      R"({"here": "other", "settings": {"net/ipv4/vs/conntrack": {"before": "5", "ours": "0"}}})");
  ASSERT_TRUE(open().restore());
  EXPECT_TRUE(kernel_has("0"));
}

}  // namespace
}  // namespace lb
