#include "health/dampener.h"

#include <string>

#include <gtest/gtest.h>

namespace lb {
namespace {

struct Case {
  const char* name;
  std::uint32_t rise, fall;
  std::optional<bool> before;
  const char* probes;    // '+' good, '-' bad
  const char* verdicts;  // after each: 'u'p, 'd'own, '?' none yet
};
class DampenerTable : public testing::TestWithParam<Case> {};

TEST_P(DampenerTable, BelievesSoManyInARow) {
  const Case& c = GetParam();
  Dampener dampener(c.rise, c.fall, c.before);
  const auto letter = [&] { return !dampener.up() ? '?' : *dampener.up() ? 'u' : 'd'; };
  std::string verdicts;
  for (const char* probe = c.probes; *probe != 0; ++probe) {
    const char before = letter();
    const bool turned = dampener.add(*probe == '+');
    EXPECT_EQ(turned, letter() != before) << verdicts;
    verdicts += letter();
  }
  EXPECT_EQ(verdicts, c.verdicts);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, DampenerTable,
    testing::Values(Case{"new_and_good", 2, 3, {}, "+++", "?uu"},
                    Case{"new_and_bad", 2, 3, {}, "----", "??dd"},
                    Case{"new_and_unsteady", 2, 3, {}, "-+--+--", "???????"},
                    Case{"falls_and_rises", 2, 3, {}, "++---++", "?uuuddu"},
                    Case{"one_good_starts_the_fall_anew", 2, 3, true, "--+---", "uuuuud"},
                    Case{"one_bad_starts_the_rise_anew", 3, 1, false, "++-+++", "dddddu"},
                    Case{"was_down_and_is", 2, 3, false, "---", "ddd"},
                    Case{"was_down_and_rises", 2, 3, false, "++", "du"},
                    Case{"was_up_and_falls", 2, 2, true, "--", "ud"},
                    Case{"each_probe_counts", 1, 1, {}, "+-+-", "udud"},
                    Case{"long_good_time", 2, 3, {}, "+++++++++---", "?uuuuuuuuuud"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace lb
