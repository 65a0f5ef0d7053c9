#include "base/loop_watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace lb {
namespace {

using namespace std::chrono_literals;

TEST(LoopWatch, MeasuresTheLongestStepAndNotTheirSum) {
  asio::io_context io{1};
  LoopWatch watch;
  EXPECT_EQ(watch.longest(), 0s);
  for (int i = 0; i < 5; ++i) asio::post(io, [] { std::this_thread::sleep_for(4ms); });
  watch.run(io);
  EXPECT_GE(watch.longest(), 4ms);
  EXPECT_NE(watch.when().time_since_epoch(), 0s);
  const auto before = watch.longest();
  io.restart();
  asio::post(io, [] {});
  watch.run(io);
  EXPECT_EQ(watch.longest(), before) << "a shorter one is no news";
}

TEST(LoopWatch, WaitingIsNoStall) {
  asio::io_context io{1};
  LoopWatch watch;
  asio::steady_timer timer(io, 20ms);
  bool fired = false;
  timer.async_wait([&](const auto&) { fired = true; });
  watch.run(io);
  EXPECT_TRUE(fired);
  EXPECT_EQ(watch.longest(), 0s);
}

TEST(LoopWatch, MeasuresTheFirstStepAfterAWaitFromItsEnd) {
  asio::io_context io{1};
  LoopWatch watch;
  asio::steady_timer timer(io, 20ms);
  LoopWatch::Clock::duration longest{};
  timer.async_wait([&](const auto&) {
    LoopWatch::wait_ended();  // as the linker has it in lbd
    const auto began = LoopWatch::Clock::now();
    std::this_thread::sleep_for(1ms);
    longest = LoopWatch::Clock::now() - began;
  });
  watch.run(io);
  EXPECT_GE(watch.longest(), longest);
}

TEST(LoopWatch, EndsWithTheLoop) {
  asio::io_context io{1};
  LoopWatch watch;
  asio::steady_timer never(io, 24h);
  never.async_wait([](const auto&) {});
  asio::post(io, [&] { io.stop(); });
  watch.run(io);
}

}  // namespace
}  // namespace lb
