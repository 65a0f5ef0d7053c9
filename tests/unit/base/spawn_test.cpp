#include "base/spawn.h"

#include <stdexcept>

#include <gtest/gtest.h>
#include <boost/asio/post.hpp>

namespace lb {
namespace {

TEST(Spawn, RunsTheCoroutine) {
  asio::io_context io{1};
  bool ran = false;
  spawn(io, "part", [&]() -> asio::awaitable<void> {
    ran = true;
    co_return;
  });
  io.run();
  EXPECT_TRUE(ran);
}

TEST(Spawn, StopsTheLoopWhenARootDies) {
  asio::io_context io{1};
  spawn(io, "part", []() -> asio::awaitable<void> {
    throw std::runtime_error("boom");
    co_return;
  });
  // Keeps the loop alive for ever unless it is stopped.
  const auto work = asio::make_work_guard(io);
  io.run();
  EXPECT_TRUE(io.stopped());
}

TEST(Spawn, EndingWithoutErrorLeavesTheLoopRunning) {
  asio::io_context io{1};
  bool later = false;
  spawn(io, "part", [&]() -> asio::awaitable<void> {
    asio::post(io, [&] { later = true; });
    co_return;
  });
  io.run();
  EXPECT_TRUE(later);
}

}  // namespace
}  // namespace lb
