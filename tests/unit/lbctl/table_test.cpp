#include "tools/lbctl/table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace lb::lbctl {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Human, ShowsTwoUnitsAtMost) {
  EXPECT_EQ(human(milliseconds(-5)), "0ms");
  EXPECT_EQ(human(milliseconds(350)), "350ms");
  EXPECT_EQ(human(seconds(59)), "59s");
  EXPECT_EQ(human(seconds(200)), "3m 20s");
  EXPECT_EQ(human(seconds(18120)), "5h 2m");
  EXPECT_EQ(human(seconds(86400 * 12 + 4 * 3600)), "12d 4h");
}

TEST(Human, AnAgeThatIsNoneIsADash) { EXPECT_EQ(age("soon", SysTime()), "-"); }

TEST(Printable, KeepsUtf8AndNamesControls) {
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable("a\tb\x7f.\xc2\x9b!"), R"(a\x09b\x7f.\xc2\x9b!)");
}

TEST(Table, AlignsByCharactersAndLeavesNoTrailingSpace) {
  Table table({{"A"}, {"N", Table::Align::Right}, {"LAST"}});
  table.add({"gr\xc3\xbcn", "7", "x"});
  table.add({"b", "1234", ""});
  std::ostringstream out;
  table.print(out, false);
  EXPECT_EQ(out.str(), "A        N  LAST\ngr\xc3\xbcn     7  x\nb     1234  -\n");
}

TEST(Table, WithoutRowsPrintsNothing) {
  std::ostringstream out;
  Table({{"A"}}).print(out, true);
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace lb::lbctl
