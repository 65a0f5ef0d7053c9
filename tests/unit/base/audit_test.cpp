#include "base/audit.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

TEST(Audit, HasOneForm) {
  EXPECT_EQ(to_string({.event = "drain",
                       .who = "uid=1000 name=alice pid=77",
                       .from = "socket",
                       .what = "10.0.0.1:9001",
                       .why = "kernel update"}),
            R"(audit=drain who="uid=1000 name=alice pid=77" from="socket" what="10.0.0.1:9001" )"
            R"(why="kernel update" result="done")");
}

TEST(Audit, ForeignTextEndsNeitherItsValueNorTheLine) {
  EXPECT_EQ(to_string({.event = "drain",
                       .who = "w",
                       .from = "f",
                       .what = "x\" result=\"done\"\naudit=undrain",
                       .why = "\x1b[31m",
                       .result = "r"}),
            R"(audit=drain who="w" from="f" what="x\x22 result=\x22done\x22\x0aaudit=undrain" )"
            R"(why="\x1b[31m" result="r")");
}

}  // namespace
}  // namespace lb
