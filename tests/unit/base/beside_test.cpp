#include "base/beside.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <future>
#include <string>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace lb {
namespace {

using namespace std::chrono_literals;

Result<std::string> wait_for(asio::io_context& io, std::function<Result<std::string>()> job,
                             std::chrono::milliseconds within) {
  Result<std::string> out = fail("no answer");
  asio::co_spawn(
      io, beside<std::string>(std::move(job), within),
      [&](const std::exception_ptr&, Result<std::string> result) { out = std::move(result); });
  io.restart();
  io.run();
  return out;
}

TEST(Beside, RunsAnotherThreadAndHandsItsResultOn) {
  asio::io_context io{1};
  const auto loop = std::this_thread::get_id();
  const auto job = [loop]() -> Result<std::string> {
    return std::this_thread::get_id() == loop ? "on the loop" : "beside it";
  };
  EXPECT_EQ(wait_for(io, job, 1min).value(), "beside it");
  const auto failing = []() -> Result<std::string> { return fail(ENOENT, "read it"); };
  EXPECT_EQ(wait_for(io, failing, 1min).error().code, std::errc::no_such_file_or_directory);
}

TEST(Beside, GivesUpWhatHangsAndNotMoreThanAFewThreads) {
  std::promise<void> disk;
  const std::shared_future<void> answers = disk.get_future().share();
  const auto hang = [answers]() -> Result<std::string> {
    answers.wait();
    return "late";
  };
  asio::io_context io{1};
  for (int i = 0; i < Beside::kMost; ++i)
    EXPECT_EQ(wait_for(io, hang, 1ms).error().code, std::errc::timed_out);
  EXPECT_EQ(wait_for(io, hang, 1min).error().code, std::errc::resource_unavailable_try_again);
  disk.set_value();
}

TEST(Beside, AJobMayEndAfterItsLoop) {
  std::promise<void> disk, over;
  const std::shared_future<void> answers = disk.get_future().share();
  {
    asio::io_context io{1};
    const auto hang = [answers, &over]() -> Result<std::string> {
      answers.wait();
      over.set_value();
      return "late";
    };
    EXPECT_FALSE(wait_for(io, hang, 1ms));
  }
  disk.set_value();
  over.get_future().wait();
}

}  // namespace
}  // namespace lb
