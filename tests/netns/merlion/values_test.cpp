// Forms that values may have: times, names, addresses; and what time does to a backend.
#include <thread>

#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  return text.replace(text.find(what), what.size(), by);
}

class MerlionValues : public MerlionNetns {};

TEST_P(MerlionValues, APlusThatBecameABlankOrPercent2bIsAPlus) {
  configure("60");
  add("a", kOne, replaced(now(), "+", " "));
  add("b", kTwo, replaced(now(), "+", "%2b"));
  // An hour ahead of UTC, so that a zone taken with the wrong sign or none at all shows.
  const std::string ahead = replaced(now(1h), "+00:00", "+01:00");
  add("c", kThree, replaced(ahead, "+", "%2B"));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(source("warnings"), "[]");
}

TEST_P(MerlionValues, ATimeWithoutZoneIsUtc) {
  configure("60");
  add("a", kOne, replaced(now(), "+00:00", ""));
  add("b", kTwo, replaced(now(), "+00:00", "Z"));
  add("c", kThree, replaced(now(-2h), "+00:00", "-02:00"));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
}

TEST_P(MerlionValues, BackendsMayHaveNames) {
  configure();
  add("a", "localhost:7001");
  add("b", "no-such-host.invalid:7002");
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1"));
  EXPECT_TRUE(turns(kOne, "active"));
  EXPECT_TRUE(warns_of("no-such-host.invalid")) << source("warnings");
}

TEST_P(MerlionValues, AddressesMayBeIPv6) {
  const Server six("[::1]:7006", "six");
  configure();
  add("a", "[::1]:7006");
  set("listen-address", "[::1]:8080");
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(ask("[::1]:8080"), "six");
}

TEST_P(MerlionValues, FreshnessThatChangesCountsAtOnce) {
  configure();
  add("a", kOne);
  add("b", kTwo, now(-10s));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1", "2"));
  set("upstream-freshness", "5");
  EXPECT_TRUE(turns(kTwo, "stale", 1s));
  EXPECT_THAT(who(), ElementsAre("1"));
  set("upstream-freshness", "60");
  EXPECT_TRUE(turns(kTwo, "active", 1s));
  EXPECT_THAT(who(), ElementsAre("1", "2"));
}

TEST_P(MerlionValues, ABackendExpiresToTheSecond) {
  configure("2");
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    touch("a");
    ASSERT_TRUE(turns(kOne, "active"));
    ASSERT_TRUE(eventually([] { return ask(kListen) == "errno 111"; }, 10s));
    const auto took = Clock::now() - begin;
    EXPECT_GE(took, 1900ms);
    EXPECT_LE(took, promised(3s));
  }
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionValues, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
