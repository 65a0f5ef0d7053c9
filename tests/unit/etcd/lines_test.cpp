#include "etcd/lines.h"

#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace lb::etcd {
namespace {

TEST(LineSplitter, CutsLinesHoweverTheyArrive) {
  const std::string text = "{\"a\":1}\n\n{\"b\":2}\n{\"c\"";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    LineSplitter splitter(100);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += step) {
      splitter.feed(std::string_view(text).substr(at, step));
      while (auto line = splitter.next().value()) lines.push_back(*std::move(line));
    }
    EXPECT_EQ(splitter.pending(), 4U) << step;
    EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"})) << step;
  }
}

TEST(LineSplitter, RefusesALineWithoutEnd) {
  LineSplitter splitter(10);
  splitter.feed("0123456789");
  EXPECT_EQ(splitter.next().value(), std::nullopt);
  splitter.feed("0");
  EXPECT_EQ(splitter.next().error().code.value(), EMSGSIZE);
  LineSplitter whole(10);
  whole.feed("01234567890\n");
  EXPECT_EQ(whole.next().error().code.value(), EMSGSIZE);
}

}  // namespace
}  // namespace lb::etcd
