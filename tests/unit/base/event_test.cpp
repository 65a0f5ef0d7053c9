#include "base/event.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace lb {
namespace {

class EventTest : public testing::Test {
 protected:
  asio::io_context io_;
  Event event_{io_.get_executor()};
};

// It once kept everything else from running, for good.
TEST_F(EventTest, WhoNotifiesItselfLetsOthersHaveTheirTurn) {
  bool stop = false;
  int turns = 0;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        while (!stop && turns < 1000) {
          ++turns;
          event_.notify();
          (void)co_await event_.wait();
        }
      },
      asio::detached);
  asio::post(io_, [&] { stop = true; });
  io_.run();
  EXPECT_LT(turns, 10);
}

TEST_F(EventTest, NotifyBeforeTheWaitIsNotLostAndCountsOnce) {
  std::vector<Event::Woken> woken;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        event_.notify();
        event_.notify();
        woken.push_back(co_await event_.wait());
        woken.push_back(co_await event_.wait(std::chrono::steady_clock::now()));
      },
      asio::detached);
  io_.run();
  EXPECT_EQ(woken, (std::vector{Event::Woken::Notified, Event::Woken::Deadline}));
}

}  // namespace
}  // namespace lb
