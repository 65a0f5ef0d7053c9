#include "etcd/lines.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace lb::etcd {
namespace {

TEST(LineSplitter, CutsLinesHoweverTheyArrive) {
  const std::string text = "{\"a\":1}\n\n{\"b\":2}\n{\"c\"";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    LineSplitter splitter(100);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += step)
      if (const auto fed = splitter.feed(std::string_view(text).substr(at, step)); fed)
        lines.insert(lines.end(), fed->begin(), fed->end());
    EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"})) << step;
  }
}

TEST(LineSplitter, RefusesALineWithoutEnd) {
  LineSplitter splitter(10);
  EXPECT_TRUE(splitter.feed("0123456789"));
  EXPECT_EQ(splitter.feed("0").error().code.value(), EMSGSIZE);
}

}  // namespace
}  // namespace lb::etcd
