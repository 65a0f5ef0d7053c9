// `lbd merlion PREFIX`, which starts with nothing but that, as `java -jar merlion.jar PREFIX` did.
#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class MerlionCommand : public MerlionNetns {
 protected:
  [[nodiscard]] Command merlion(const Command& more) const {
    Command words{"--etcd", fmt::format("{}", fmt::join(etcd_->urls(), ","))};
    words.insert(words.begin(), more.begin(), more.end());
    return lbd_->preset("merlion", words);
  }
};

TEST_P(MerlionCommand, ServesAPrefix) {
  configure();
  add("a", kOne);
  ASSERT_TRUE(lbd_->launch(merlion({kSite})));
  ASSERT_TRUE(becomes("site", "ok"));
  EXPECT_THAT(who(), ElementsAre("1"));
  keys_->put(key("a", "listen-address"), kTwo);
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"2"}; }));
}

TEST_P(MerlionCommand, WithoutAConfigurationWaitsSaysSoAndServesWhenThereIsOne) {
  ASSERT_TRUE(lbd_->launch(merlion({kSite})));
  EXPECT_TRUE(eventually([&] { return lbd_->log().find(kSite) != std::string::npos; }));
  EXPECT_THAT(lbd_->log(), HasSubstr("upstream-service-etcd-prefix"));
  add("a", kOne);
  configure();
  EXPECT_TRUE(eventually([] { return ask(kListen) == "1"; }, 10s)) << source("error");
}

TEST_P(MerlionCommand, ExitsWithoutAConfigurationWhenAskedTo) {
  const auto begin = Clock::now();
  const Finished done = run(merlion({kSite, "--exit-without-config"}));
  EXPECT_EQ(done.code, 1) << done.all();
  EXPECT_LT(Clock::now() - begin, promised(3s));
  EXPECT_THAT(done.all(), HasSubstr(kSite));
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionCommand, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
