#include "base/result.h"

#include <fcntl.h>

#include <csignal>

#include <gtest/gtest.h>

#include "base/unique_fd.h"

namespace lb {
namespace {

TEST(Error, SaysWhatWasTriedAndWhy) {
  EXPECT_EQ(fail(ENOENT, "open /x").value().message(), "open /x: No such file or directory");
}

TEST(Error, IsTheContextAloneWithoutACode) {
  EXPECT_EQ(fail("port 0 is no port").value().message(), "port 0 is no port");
}

TEST(Error, IsTheReasonAloneWithoutAContext) {
  EXPECT_EQ(fail(EACCES, "").value().message(), "Permission denied");
}

TEST(Error, CodeComparesWithErrno) {
  EXPECT_EQ(fail(EEXIST, "x").value().code, std::errc::file_exists);
}

Result<int> half(int n) {
  if (n % 2 != 0) return fail("odd");
  return n / 2;
}

Result<int> quarter(int n) {
  LB_TRY(const int first, half(n));
  LB_TRY(const int second, half(first));
  return second;
}

Result<> check_even(int n) {
  LB_CHECK([&]() -> Result<> {
    LB_TRY([[maybe_unused]] const int unused, half(n));
    return {};
  }());
  return {};
}

TEST(LbTry, GoesOnWithTheValue) { EXPECT_EQ(quarter(12).value(), 3); }

TEST(LbTry, ReturnsTheFirstError) {
  EXPECT_EQ(quarter(6).error().context, "odd");
  EXPECT_EQ(quarter(3).error().context, "odd");
}

TEST(LbCheck, ReturnsTheErrorAndElseGoesOn) {
  EXPECT_TRUE(check_even(2));
  EXPECT_EQ(check_even(1).error().context, "odd");
}

TEST(BugDeathTest, Aborts) { EXPECT_EXIT(bug("impossible"), testing::KilledBySignal(SIGABRT), ""); }

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, ClosesAtTheEnd) {
  int raw = -1;
  {
    const UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd);
    raw = fd.get();
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, MovesOwnership) {
  UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int raw = first.get();
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that it is empty is the point
  EXPECT_EQ(second.get(), raw);
  UniqueFd third(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_EQ(third.get(), raw);
  EXPECT_FALSE(is_open(replaced));
}

TEST(UniqueFd, SurvivesAssignmentToItself) {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_TRUE(is_open(fd.get()));
}

TEST(UniqueFd, ReleasesWithoutClosing) {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd keep(fd.release());
  EXPECT_FALSE(fd);
  EXPECT_TRUE(is_open(keep.get()));
}

}  // namespace
}  // namespace lb
