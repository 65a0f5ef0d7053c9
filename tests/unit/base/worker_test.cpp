#include "base/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <vector>

namespace lb {
namespace {

using testing::ElementsAre;

TEST(Worker, RunsJobsInOrderAndTellsTheirEndsOnTheLoop) {
  asio::io_context io{1};
  Worker worker(io, "test");
  std::vector<int> ran, told;
  bool beside = true, on_loop = true;
  const auto loop = std::this_thread::get_id();
  for (int i = 0; i < 100; ++i)
    worker.run(
        [&, i]() -> Result<> {
          beside = beside && std::this_thread::get_id() != loop;
          ran.push_back(i);
          return {};
        },
        [&, i](const Result<>&) {
          on_loop = on_loop && std::this_thread::get_id() == loop;
          told.push_back(i);
        });
  EXPECT_TRUE(told.empty());
  io.run();  // ends when all have been told
  EXPECT_EQ(told.size(), 100U);
  EXPECT_EQ(told, ran);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
  EXPECT_TRUE(beside);
  EXPECT_TRUE(on_loop);
}

TEST(Worker, HandsFailuresOn) {
  asio::io_context io{1};
  Worker worker(io, "test");
  std::optional<Result<>> told;
  worker.run([]() -> Result<> { return fail(ENOSPC, "write it"); },
             [&](Result<> result) { told = std::move(result); });
  io.run();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->error().code, std::errc::no_space_on_device);
}

TEST(Worker, WaitReturnsWhenAllJobsHaveRunAndLeavesTheTellingToTheLoop) {
  asio::io_context io{1};
  Worker worker(io, "test");
  int ran = 0, told = 0;
  for (int i = 0; i < 10; ++i)
    worker.run(
        [&]() -> Result<> {
          ++ran;
          return {};
        },
        [&](const Result<>&) { ++told; });
  EXPECT_TRUE(worker.wait(std::chrono::minutes(1)));
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(told, 0);
  io.run();
  EXPECT_EQ(told, 10);
}

TEST(Worker, FinishesItsJobsAtTheEndAndTellsNobody) {
  asio::io_context io{1};
  int ran = 0, told = 0;
  {
    Worker worker(io, "test");
    for (int i = 0; i < 10; ++i)
      worker.run(
          [&]() -> Result<> {
            ++ran;
            return {};
          },
          [&](const Result<>&) { ++told; });
  }
  EXPECT_EQ(ran, 10);
  io.run();
  EXPECT_EQ(told, 0);
}

// As of a disk that does not answer. The thread ends when the job does, on its own.
TEST(Worker, LeavesAJobThatHangsBehind) {
  std::promise<void> disk, over;
  std::shared_future<void> answers = disk.get_future().share();
  int told = 0;
  {
    asio::io_context io{1};
    {
      Worker worker(io, "test");
      worker.run(
          [answers, &over]() -> Result<> {
            answers.wait();
            over.set_value();
            return {};
          },
          [&](const Result<>&) { ++told; });
      EXPECT_FALSE(worker.wait(std::chrono::milliseconds(1)));
    }
    io.run();  // nothing keeps it
  }
  disk.set_value();
  over.get_future().wait();
  EXPECT_EQ(told, 0);
}

TEST(Worker, EndOfOneJobMayGiveTheNext) {
  asio::io_context io{1};
  Worker worker(io, "test");
  std::vector<int> told;
  const Worker::Job nothing = []() -> Result<> { return {}; };
  worker.run(nothing, [&](const Result<>&) {
    told.push_back(1);
    worker.run(nothing, [&](const Result<>&) { told.push_back(2); });
  });
  io.run();
  EXPECT_THAT(told, ElementsAre(1, 2));
}

}  // namespace
}  // namespace lb
