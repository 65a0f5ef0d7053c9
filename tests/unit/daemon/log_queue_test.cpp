#include "daemon/log_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>

#include <fmt/format.h>

#include "base/unique_fd.h"

namespace lb {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    out = UniqueFd(ends[0]);
    in = UniqueFd(ends[1]);
  }
  // Until a write would wait for the reader.
  void fill() const {
    const std::string page(4096, '.');
    ASSERT_EQ(::fcntl(in.get(), F_SETFL, O_NONBLOCK), 0);
    while (::write(in.get(), page.data(), page.size()) > 0) {
    }
    ASSERT_EQ(::fcntl(in.get(), F_SETFL, 0), 0);
  }
  // All that is written until `last` has come.
  std::string read_until(const std::string& last) const {
    std::string text;
    std::array<char, 4096> buffer{};
    while (text.find(last) == std::string::npos) {
      const ssize_t n = ::read(out.get(), buffer.data(), buffer.size());
      if (n <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }
  UniqueFd out, in;
};

TEST(LogQueue, WritesLinesInOrder) {
  const Pipe pipe;
  LogQueue queue(pipe.in.get());
  for (int i = 0; i < 100; ++i) queue.push(fmt::format("line {}\n", i));
  EXPECT_TRUE(queue.flush(1min));
  const std::string text = pipe.read_until("line 99\n");
  EXPECT_LT(text.find("line 7\n"), text.find("line 8\n"));
  EXPECT_EQ(queue.dropped(), 0U);
}

TEST(LogQueue, DropsTheOldestLinesWhileTheReaderStopsAndSaysSoLater) {
  const Pipe pipe;
  pipe.fill();
  LogQueue queue(pipe.in.get(), 10'000);
  const std::string padding(90, '.');
  for (int i = 0; i < 2'000; ++i) queue.push(fmt::format("line {} {}\n", i, padding));
  EXPECT_FALSE(queue.flush(1ms));
  EXPECT_GT(queue.dropped(), 1'800U);
  EXPECT_EQ(queue.take_news(), 0U) << "it is full still";
  const std::string text = pipe.read_until("line 1999 ");
  EXPECT_EQ(text.find("line 1000 "), std::string::npos);
  EXPECT_NE(text.find("line 1999 "), std::string::npos);
  EXPECT_TRUE(queue.flush(1min));
  EXPECT_EQ(queue.take_news(), queue.dropped());
  EXPECT_EQ(queue.take_news(), 0U) << "said once";
}

TEST(LogQueue, SurvivesADeadReader) {
  Pipe pipe;
  LogQueue queue(pipe.in.get());
  pipe.out.reset();
  queue.push("no one reads this\n");
  EXPECT_TRUE(queue.flush(1min));
  EXPECT_EQ(queue.dropped(), 1U);
}

TEST(LogQueue, EndsWhileTheReaderStops) {
  const Pipe pipe;
  pipe.fill();
  LogQueue queue(pipe.in.get());
  queue.push("no one reads this\n");
  EXPECT_FALSE(queue.flush(1ms));
}

}  // namespace
}  // namespace lb
