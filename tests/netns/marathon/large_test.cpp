// Answers of 50 MiB: the loop goes on meanwhile.
#include <time.h>

#include <algorithm>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "netns/marathon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

std::chrono::nanoseconds thread_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

TEST_F(MarathonTest, ReadsFiftyMebibytesWithoutHoldingTheLoop) {
  FakeMarathon& marathon = add_node();
  marathon.add_app({.id = "/web", .ports = {10001}});
  marathon.launch("/web", "10.0.0.1", {31001});
  marathon.fault("big", 1);
  // Between two turns of the loop, by the clock of its own thread: the machine may be busy.
  std::chrono::nanoseconds worst{};
  bool over = false;
  asio::cancellation_signal cancel;
  spawn(io_, "ticks", cancel, [&]() -> asio::awaitable<void> {
    asio::steady_timer timer(io_);
    auto before = thread_time();
    while (!over) {
      timer.expires_after(1ms);
      co_await timer.async_wait(asio::use_awaitable);
      worst = std::max(worst, thread_time() - before);
      before = thread_time();
    }
  });
  start();
  ASSERT_TRUE(reaches({"10.0.0.1:31001 active"}, 60s));
  over = true;
  EXPECT_GT(marathon.count("/v2/apps"), 0);
  RecordProperty("worst_ms", static_cast<int>(worst / 1ms));
  // Inflating takes some 100 ms of it, on a busy machine 200; parsing it there would take more than a second.
  EXPECT_LE(worst, 500ms);
  EXPECT_TRUE(errors_.empty());
  watch_for(50ms);
}

TEST_F(MarathonTest, RefusesAnAnswerWithoutEnd) {
  FakeMarathon& marathon = add_node();
  marathon.call(R"({"do":"fault","kind":"big","bytes":140000000})");
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find("134217728"), std::string::npos) << errors_[0];
}

TEST_F(MarathonTest, ReadsPlainAnswersToo) {
  FakeMarathon& marathon = add_node({.gzip = false});
  marathon.add_app({.id = "/web", .ports = {10001}});
  marathon.call(R"({"do":"launch","app":"/web","host":"10.0.0.1","ports":[31001],"count":2000})");
  start();
  EXPECT_TRUE(until([&] { return active() == 2000; }));
}

}  // namespace
}  // namespace lb::test
