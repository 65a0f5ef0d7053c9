// Watches of the v2 API against a real etcd.
#include <algorithm>
#include <cerrno>

#include "netns/etcd_api/fixture.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

class V2Watch : public V2ApiTest {};

TEST_F(V2Watch, TellsOfChangesBelowEachOfItsPrefixes) {
  const auto watch = this->watch({"/conf/", "/up/"});
  ASSERT_TRUE(watch);
  etcd_.set("/conf/a", "value=1");
  etcd_.set("/up/x/address", "value=2%2B3");
  etcd_.set("/other/b", "value=3");
  etcd_.set("/up/_hidden", "value=4");
  etcd_.set("/conf/a", "value=5&prevValue=1");
  etcd_.erase("/conf/a");
  auto seen = events(*watch, 4);
  // Of the two prefixes only each for itself is in order.
  std::stable_sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) {
    return (a.find("/conf") != std::string::npos) > (b.find("/conf") != std::string::npos);
  });
  EXPECT_EQ(seen,
            (Strings{"put /conf/a=1", "put /conf/a=5", "delete /conf/a", "put /up/x/address=2+3"}));
  EXPECT_EQ(read(*watch, 100ms).error().code.value(), ETIMEDOUT);
}

TEST_F(V2Watch, TellsWhatHasHappenedSinceTheRevisionAskedFor) {
  const auto before = list("/up/").header.revision;
  for (int i = 0; i < 50; ++i) etcd_.set(fmt::format("/up/{}", i), fmt::format("value={}", i));
  const auto watch = this->watch({"/up/"}, before + 1);
  ASSERT_TRUE(watch);
  const auto seen = events(*watch, 50);
  ASSERT_EQ(seen.size(), 50U);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(seen[static_cast<std::size_t>(i)], fmt::format("put /up/{}={}", i, i));
  etcd_.set("/up/after", "value=x");
  EXPECT_EQ(events(*watch, 1), Strings{"put /up/after=x"});
}

TEST_F(V2Watch, TellsOfTheEndOfADirectoryAndOfTheDirectoriesAround) {
  etcd_.set("/top/up/x/address", "value=1");
  etcd_.set("/top/up/y/address", "value=1");
  const auto watch = this->watch({"/top/up/"});
  ASSERT_TRUE(watch);
  etcd_.erase("/top/up/x?recursive=true");
  EXPECT_EQ(events(*watch, 1), Strings{"rmdir /top/up/x"});
  etcd_.erase("/top?recursive=true");
  EXPECT_EQ(events(*watch, 1), Strings{"rmdir /top"});
  etcd_.set("/top/up/z", "value=1");
  EXPECT_EQ(events(*watch, 1), Strings{"put /top/up/z=1"});
}

TEST_F(V2Watch, KnowsAnExpiryFromADeletion) {
  etcd_.set("/up/deleted", "value=1&ttl=100");
  etcd_.set("/up/expires", "value=1&ttl=1");
  etcd_.set("/up/dir", "dir=true&ttl=1");
  etcd_.set("/up/dir/key", "value=1");
  const auto watch = this->watch({"/up/"});
  ASSERT_TRUE(watch);
  etcd_.erase("/up/deleted");
  auto seen = events(*watch, 3);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen,
            (Strings{"delete /up/deleted", "delete /up/expires expired", "rmdir /up/dir expired"}));
}

TEST_F(V2Watch, IsNotWokenByMakingDirectoriesButByAValueThatBecomesOne) {
  etcd_.set("/up/x", "value=1");
  const auto watch = this->watch({"/up/"});
  ASSERT_TRUE(watch);
  etcd_.set("/up/new", "dir=true");
  etcd_.set("/up/x", "dir=true");
  EXPECT_EQ(events(*watch, 1), Strings{"delete /up/x"});
}

TEST_F(V2Watch, SurvivesAnyNumberOfOtherKeysWhileIdle) {
  const auto watch = this->watch({"/idle/", "/busy/"});
  ASSERT_TRUE(watch);
  std::size_t told = 0;
  for (int i = 0; i < 1'500; ++i) {
    etcd_.set(i % 2 == 0 ? "/other/a" : "/busy/a", fmt::format("value={}", i));
    if (i % 100 == 99)
      while (told < static_cast<std::size_t>(i / 2)) told += events(*watch, 1).size();
  }
  etcd_.set("/idle/a", "value=1");
  for (;;) {
    const auto seen = events(*watch, 1);
    ASSERT_FALSE(seen.empty());
    if (std::find(seen.begin(), seen.end(), "put /idle/a=1") != seen.end()) break;
  }
  etcd_.set("/idle/a", "value=2");
  EXPECT_EQ(events(*watch, 1), Strings{"put /idle/a=2"});
}

TEST_F(V2Watch, IsRefusedFromWhereHistoryHasBeenCleared) {
  const Header then = list("/up/").header;
  for (int i = 0; i < 1'100; ++i) etcd_.set("/other/a", "value=1");
  const auto watch = run(api_.watch(etcd_.url(), then.cluster, {{"/up/", then.revision + 1}}));
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error().code.value(), ESTALE);
  EXPECT_NE(watch.error().context.find(etcd_.url() + ": watch of /up/: "), std::string::npos);
  EXPECT_NE(watch.error().context.find("outdated and cleared"), std::string::npos)
      << watch.error().context;
}

TEST_F(V2Watch, IsRefusedByAWipedEtcdAndByAnotherCluster) {
  for (int i = 0; i < 20; ++i) etcd_.set("/up/a", "value=1");
  const Header then = list("/up/").header;
  const auto other = run(api_.watch(etcd_.url(), then.cluster + 1, {{"/up/", then.revision + 1}}));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code.value(), ESTALE);
  etcd_.stop();
  etcd_.wipe();
  ASSERT_TRUE(etcd_.start());
  ASSERT_EQ(list("/up/").header.cluster, then.cluster);
  const auto watch = run(api_.watch(etcd_.url(), then.cluster, {{"/up/", then.revision + 1}}));
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error().code.value(), ESTALE) << watch.error().message();
}

TEST_F(V2Watch, EndsWithItsEtcdAfterWhatHadArrived) {
  const auto watch = this->watch({"/up/"});
  ASSERT_TRUE(watch);
  etcd_.set("/up/a", "value=1");
  EXPECT_EQ(events(*watch, 1), Strings{"put /up/a=1"});
  etcd_.stop();
  const auto batch = read(*watch);
  ASSERT_FALSE(batch);
  EXPECT_NE(batch.error().code.value(), ETIMEDOUT);
  EXPECT_NE(batch.error().context.find(etcd_.url()), std::string::npos) << batch.error().context;
}

TEST_F(V2Watch, DeliversLateWhatAFrozenEtcdHadNotSent) {
  const auto watch = this->watch({"/up/"});
  ASSERT_TRUE(watch);
  etcd_.freeze(true);
  EXPECT_EQ(read(*watch, 300ms).error().code.value(), ETIMEDOUT);
  etcd_.freeze(false);
  etcd_.set("/up/a", "value=1");
  EXPECT_EQ(events(*watch, 1), Strings{"put /up/a=1"});
}

}  // namespace
}  // namespace lb::etcd
