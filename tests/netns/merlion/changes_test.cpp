// Keys that change while lbd runs, and what is written by halves, by mistake, or at an unlucky moment.
#include <thread>

#include "netns/merlion/file_server.h"
#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class MerlionChanges : public MerlionNetns {};

TEST_P(MerlionChanges, AMalformedBackendDisturbsNoOther) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const Load load(kListen);
  keys_->put(key("b", "listen-address"), "nonsense");
  keys_->put(key("c", "last-seen-at"), "1700000000");
  keys_->put(std::string(kUpstream) + "/plain", "a value where a folder should be");
  EXPECT_TRUE(warns_of(key("b", "listen-address"))) << source("warnings");
  EXPECT_TRUE(warns_of(key("c", "last-seen-at"))) << source("warnings");
  EXPECT_TRUE(warns_of(std::string(kUpstream) + "/plain")) << source("warnings");
  EXPECT_THAT(who(), ElementsAre("1", "2", "3")) << "the last good values stay";
  EXPECT_EQ(load.failed(), 0);
}

TEST_P(MerlionChanges, AMalformedNewBackendIsLeftOut) {
  configure();
  add("a", kOne);
  add("b", "127.0.0.1:99999");
  add("c", kThree, "2026-02-30T00:00:00Z");
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1"));
  EXPECT_THAT(source("warnings"), HasSubstr(key("b", "listen-address")));
  EXPECT_THAT(source("warnings"), HasSubstr(key("c", "last-seen-at")));
}

TEST_P(MerlionChanges, AHalfWrittenBackendIsNamedAndThenTaken) {
  configure();
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  touch("b");
  EXPECT_TRUE(warns_of(key("b", "listen-address")));
  EXPECT_THAT(who(), ElementsAre("1"));
  keys_->put(key("b", "listen-address"), kTwo);
  EXPECT_TRUE(turns(kTwo, "active"));
  EXPECT_THAT(who(), ElementsAre("1", "2"));
  EXPECT_EQ(source("warnings"), "[]");
}

TEST_P(MerlionChanges, ABackendWithoutLastSeenAtIsNotUsed) {
  configure();
  add("a", kOne);
  keys_->put(key("b", "listen-address"), kTwo);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(state_of(kTwo), "stale");
  EXPECT_THAT(who(), ElementsAre("1"));
  touch("b");
  EXPECT_TRUE(turns(kTwo, "active"));
  keys_->remove(key("b", "last-seen-at"));
  EXPECT_TRUE(turns(kTwo, "stale"));
  EXPECT_THAT(who(), ElementsAre("1"));
}

TEST_P(MerlionChanges, DisabledTogglesAndConnectionsStay) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(connect_to(kListen));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("site", kTwo).active == 1; }));
  for (int round = 0; round < 3; ++round) {
    keys_->put(key("b", "disabled"), "true");
    ASSERT_TRUE(turns(kTwo, "disabled"));
    EXPECT_THAT(who(), ElementsAre("1", "3"));
    EXPECT_EQ(lbd_->backend("site", kTwo).active, 1);
    keys_->remove(key("b", "disabled"));
    ASSERT_TRUE(turns(kTwo, "active"));
    EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  }
}

TEST_P(MerlionChanges, DisabledMeansPresentUnlessItSaysNo) {
  configure();
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  const auto becomes_after = [&](const std::string& value, const std::string& state) {
    keys_->put(key("a", "disabled"), value);
    EXPECT_TRUE(turns(kOne, state)) << "'" << value << "' should make it " << state;
  };
  // Each yes stands beside a no, so that every value is seen to have its effect.
  for (const std::string no : {"false", "0", "no", "off", "", "False", "FALSE", "No", "OFF"})
    for (const std::string yes : {"true"}) {
      becomes_after(yes, "disabled");
      becomes_after(no, "active");
    }
  for (const std::string yes : {"1", "TRUE", "True", "t", "y", "yes", "on", "since yesterday"}) {
    becomes_after(yes, "disabled");
    becomes_after("no", "active");
  }
}

TEST_P(MerlionChanges, AnotherAddressMovesNewConnectionsOnly) {
  configure();
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  const UniqueFd old = connect_to(kListen);
  EXPECT_EQ(read_all_now(old), "1");
  keys_->put(key("a", "listen-address"), kTwo);
  ASSERT_TRUE(turns(kTwo, "active"));
  EXPECT_THAT(who(), ElementsAre("2"));
  EXPECT_EQ(state_of(kOne), "draining");
  EXPECT_EQ(lbd_->backend("site", kOne).active, 1);
  EXPECT_EQ(::send(old.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(lbd_->backend("site", kOne).active, 1);
}

TEST_P(MerlionChanges, PrefixesMayEndInASlash) {
  configure();
  set("upstream-service-etcd-prefix", std::string(kUpstream) + "/");
  add("a", kOne);
  lbd_->configure(source_toml({std::string(kSite) + "/"}));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1"));
  EXPECT_EQ(lbd_->backend("site", kOne).id, "a");
}

TEST_P(MerlionChanges, AListenerOnAllAddressesIsLeftAloneByUpdates) {
  configure();
  set("listen-address", "0.0.0.0:8080");
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(start("local-only"));
  const UniqueFd client = connect_to(kListen);
  EXPECT_EQ(read_all_now(client), "1");
  const auto total = [&] { return lbd_->backend("site", kOne).total; };
  ASSERT_EQ(total(), 1);
  const Load load(kListen);
  for (int i = 0; i < 20; ++i) {
    touch("a");
    set("log-level", i % 2 == 0 ? "info" : "debug");
    if (i % 2 == 0)
      add("b", kTwo);
    else
      drop("b");
  }
  EXPECT_TRUE(eventually([&] { return load.made() > 200; }));
  EXPECT_EQ(load.failed(), 0);
  EXPECT_GE(lbd_->backend("site", kOne).active, 1);
  EXPECT_GT(total(), 50) << "counters go on";
  EXPECT_EQ(lbd_->service("site").listen, "0.0.0.0:8080");
  EXPECT_EQ(ask("127.0.0.2:8080").substr(0, 5), "errno") << "0.0.0.0 is the host's addresses";
}

TEST_P(MerlionChanges, NothingIsLostBetweenReadingAndWatching) {
  configure();
  ASSERT_NO_FATAL_FAILURE(start("no-backends"));
  // Each new prefix is another range and another watch, while keys below it are being written.
  for (int round = 0; round < 20; ++round) {
    const std::string up = fmt::format("/svc/round{}", round);
    const std::string address = fmt::format("127.0.0.1:{}", 7001 + round % 3);
    set("upstream-service-etcd-prefix", up);
    keys_->put(up + "/x/last-seen-at", now());
    keys_->put(up + "/x/listen-address", address);
    EXPECT_TRUE(turns(address, "active")) << round;
  }
}

TEST_P(MerlionChanges, TheUpstreamPrefixMovesLive) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const Load load(kListen);
  keys_->put("/svc/other/x/last-seen-at", now());
  keys_->put("/svc/other/x/listen-address", kTwo);
  set("upstream-service-etcd-prefix", "/svc/other");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"2"}; }));
  EXPECT_EQ(lbd_->backend("site", kTwo).id, "x");
  // What is written to the old one means nothing any more.
  keys_->put(key("c", "disabled"), "false");
  std::this_thread::sleep_for(200ms);
  EXPECT_THAT(who(), ElementsAre("2"));
  EXPECT_EQ(load.failed(), 0);
}

TEST_P(MerlionChanges, TheLogLevelFollowsItsKey) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const auto logs = [&](const char* text) {
    return eventually([&] { return lbd_->log().find(text) != std::string::npos; });
  };
  set("log-level", "debug");
  EXPECT_TRUE(logs("log_level=debug"));
  unset("log-level");
  EXPECT_TRUE(logs("log_level=info"));
}

TEST_P(MerlionChanges, SurviveARestartOfEtcd) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const Load load(kListen);
  etcd_->kill_all();
  EXPECT_TRUE(eventually([&] { return source("state") == "failing"; }));
  EXPECT_THAT(source("error"), HasSubstr(etcd_->url(0)));
  etcd_->restart_all();
  drop("b");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "3"}; }, 15s));
  EXPECT_EQ(source("state"), "ok");
  EXPECT_EQ(load.failed(), 0);
}

TEST_P(MerlionChanges, AnInvalidConfigurationKeepsTheLastGood) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const auto still_good = [&](const std::string& name) {
    EXPECT_TRUE(warns_of(std::string(kSite) + "/" + name)) << source("warnings");
    EXPECT_THAT(who(), ElementsAre("1", "2", "3")) << name;
    EXPECT_EQ(lbd_->service("site").condition, "ok");
  };
  set("upstream-freshness", "soon");
  still_good("upstream-freshness");
  set("upstream-freshness", "3600");
  EXPECT_TRUE(eventually([&] { return source("warnings") == "[]"; })) << source("warnings");
  set("listen-address", "nowhere");
  still_good("listen-address");
  // Backends still come and go meanwhile.
  drop("b");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "3"}; }));
  set("listen-address", "127.0.0.1:8081");
  EXPECT_TRUE(eventually([] {
    return who("127.0.0.1:8081") == std::vector<std::string>{"1", "3"};
  }));
}

TEST_P(MerlionChanges, AMissingUpstreamPrefixKeepsTheLastGood) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  unset("upstream-service-etcd-prefix");
  EXPECT_TRUE(warns_of(std::string(kSite) + "/upstream-service-etcd-prefix")) << source("warnings");
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
}

TEST_P(MerlionChanges, OneLbdServesManySites) {
  configure();
  add("a", kOne);
  keys_->put("/conf/shop/upstream-service-etcd-prefix", "/svc/shop");
  keys_->put("/conf/shop/listen-address", "127.0.0.1:8090");
  keys_->put("/svc/shop/s/last-seen-at", now());
  keys_->put("/svc/shop/s/listen-address", kTwo);
  lbd_->configure(source_toml({kSite, "/conf/shop"}));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(becomes("shop", "ok"));
  EXPECT_THAT(who(), ElementsAre("1"));
  EXPECT_THAT(who("127.0.0.1:8090"), ElementsAre("2"));
  keys_->put("/svc/shop/s/listen-address", kThree);
  EXPECT_TRUE(eventually([] { return who("127.0.0.1:8090") == std::vector<std::string>{"3"}; }));
  keys_->put("/conf/shop/listen-address", "nowhere");
  EXPECT_TRUE(warns_of("/conf/shop/listen-address"));
  EXPECT_THAT(who(), ElementsAre("1"));
  EXPECT_THAT(who("127.0.0.1:8090"), ElementsAre("3"));
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionChanges, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
