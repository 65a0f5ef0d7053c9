// Clocks that disagree: of publishers and of lbd.
#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class MerlionSkew : public MerlionNetns {};

TEST_P(MerlionSkew, ATimeFarInTheFutureIsFreshAndWarnedAbout) {
  configure("60");
  add("a", kOne, now(30s));
  add("b", kTwo, now(10min));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1", "2"));
  EXPECT_TRUE(warns_of(key("b", "last-seen-at"))) << source("warnings");
  EXPECT_THAT(source("warnings"), testing::Not(HasSubstr(key("a", "last-seen-at"))));
  touch("b");
  EXPECT_TRUE(eventually([&] { return source("warnings") == "[]"; })) << source("warnings");
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionSkew, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
