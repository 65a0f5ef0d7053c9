// What points at etcd, at this host or at lbd itself is no evidence against all backends: a full etcd,
// a lbd that was frozen, no route for a moment. And junk below a prefix is no reason to know nothing.
#include <signal.h>

#include <atomic>
#include <thread>

#include "base/text.h"
#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// Writes last-seen-at of some backends until it is told to stop; refusals are etcd's affair.
class Heartbeats {
 public:
  Heartbeats(const EtcdCluster& etcd, std::vector<std::string> keys)
      : thread_([this, url = etcd.url(0), options = etcd.call_options(), keys = std::move(keys)] {
          HttpCall call(options);
          while (!stop_) {
            for (const std::string& key : keys)
              (void)call("POST", url + "/v3/kv/put",
                         fmt::format(R"({{"key":"{}","value":"{}"}})", base64_encode(key),
                                     base64_encode(now())));
            std::this_thread::sleep_for(200ms);
          }
        }) {}
  ~Heartbeats() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class EtcdEvidence : public MerlionNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override {
    EtcdOptions out;
    out.flags = {"--quota-backend-bytes", std::to_string(quota_)};
    return out;
  }
  void TearDown() override {
    load_.reset();
    heartbeats_.reset();
    MerlionNetns::TearDown();
  }
  void beat() {
    heartbeats_ = std::make_unique<Heartbeats>(
        *etcd_, std::vector<std::string>{key("a", "last-seen-at"), key("b", "last-seen-at"),
                                         key("c", "last-seen-at")});
  }
  // Three backends with heartbeats, a short freshness, and clients.
  void serve_with_heartbeats() {
    ASSERT_NO_FATAL_FAILURE(serve_three());
    beat();
    std::this_thread::sleep_for(500ms);  // the first ones are written
    set("upstream-freshness", "3");
    load_ = std::make_unique<Load>(kListen, 2ms);
  }
  HttpReply post(const std::string& path, const std::string& body) {
    HttpCall call(etcd_->call_options());
    return call("POST", etcd_->url(0) + path, body);
  }
  [[nodiscard]] std::vector<std::string> states() const {
    std::vector<std::string> out;
    for (const ListedBackend& b : lbd_->service("site").backends) out.push_back(b.state);
    return out;
  }

  std::uint64_t quota_ = std::uint64_t{2} << 30;
  std::unique_ptr<Heartbeats> heartbeats_;
  std::unique_ptr<Load> load_;
};

class FullEtcd : public EtcdEvidence {
 protected:
  FullEtcd() { quota_ = std::uint64_t{8} << 20; }
};

TEST_P(FullEtcd, MakesNothingStaleAndIsNamed) {
  ASSERT_NO_FATAL_FAILURE(serve_with_heartbeats());
  const std::string junk = base64_encode(std::string(500'000, 'x'));
  bool full = false;
  for (int i = 0; i < 100 && !full; ++i)
    full = !post("/v3/kv/put", fmt::format(R"({{"key":"{}","value":"{}"}})",
                                           base64_encode(fmt::format("/junk/{}", i)), junk))
                .ok();
  ASSERT_TRUE(full);
  ASSERT_TRUE(
      eventually([&] { return source("error").find("takes no writes") != std::string::npos; }, 15s))
      << source("error");
  EXPECT_THAT(source("error"), HasSubstr("NOSPACE"));
  std::this_thread::sleep_for(7s);  // twice the freshness: nothing is to happen
  EXPECT_THAT(states(), UnorderedElementsAre("active", "active", "active"));
  EXPECT_EQ(load_->failed(), 0);
  // Room is made, and the alarm taken back.
  keys_->remove_tree("/junk");
  keys_->compact(keys_->revision());
  ASSERT_TRUE(post("/v3/maintenance/defragment", "{}").ok());
  const std::string alarms = post("/v3/maintenance/alarm", R"({"action":"GET"})").body;
  ASSERT_TRUE(post("/v3/maintenance/alarm",
                   fmt::format(R"({{"action":"DEACTIVATE","alarm":"NOSPACE","memberID":"{}"}})",
                               json_at(alarms, "/alarms/0/memberID")))
                  .ok());
  ASSERT_TRUE(eventually([&] { return source("state") == "ok"; }, 15s)) << source("error");
  std::this_thread::sleep_for(4s);
  EXPECT_THAT(states(), UnorderedElementsAre("active", "active", "active"));
  EXPECT_EQ(load_->failed(), 0);
}

INSTANTIATE_TEST_SUITE_P(Etcd, FullEtcd, testing::Values(EtcdStore::V3), store_name);

TEST_P(EtcdEvidence, AFrozenLbdReadsBeforeItJudges) {
  ASSERT_NO_FATAL_FAILURE(serve_with_heartbeats());
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::kill(lbd_->pid(), SIGSTOP), 0);
    std::this_thread::sleep_for(5s);
    ASSERT_EQ(::kill(lbd_->pid(), SIGCONT), 0);
    ASSERT_TRUE(eventually([&] { return states().size() == 3; }));
    EXPECT_THAT(states(), UnorderedElementsAre("active", "active", "active"));
  }
  EXPECT_EQ(load_->failed(), 0);
  // And what is dead all the same expires.
  heartbeats_.reset();
  heartbeats_ =
      std::make_unique<Heartbeats>(*etcd_, std::vector<std::string>{key("a", "last-seen-at")});
  EXPECT_TRUE(turns(kTwo, "stale", 10s));
  EXPECT_EQ(state_of(kOne), "active");
  EXPECT_EQ(load_->failed(), 0);
}

TEST_P(EtcdEvidence, AllThatFallSilentTogetherServeUntilLbdsOwnProbeFails) {
  ASSERT_NO_FATAL_FAILURE(serve_with_heartbeats());
  heartbeats_.reset();
  ASSERT_TRUE(turns(kOne, "unknown", 10s)) << state_of(kOne);
  ASSERT_TRUE(eventually([&] { return states() == std::vector<std::string>(3, "unknown"); }));
  EXPECT_EQ(load_->failed(), 0);
  load_.reset();  // what clients meet is another story
  servers_.at(1).reset();
  EXPECT_TRUE(turns(kTwo, "stale", 20s)) << state_of(kTwo);
  EXPECT_EQ(state_of(kOne), "unknown");
  beat();
  EXPECT_TRUE(turns(kOne, "active"));
}

// lbd's own address space has a host that can be cut off: 10.99.0.1.
TEST_P(EtcdEvidence, WithoutARouteForAMomentAllServeAsTheLastResort) {
  run_or_throw({"ip", "address", "add", "10.99.0.1/32", "dev", "lo"});
  const Server one("10.99.0.1:7010", "one");
  const Server two("10.99.0.1:7011", "two");
  configure();
  add("one", "10.99.0.1:7010");
  add("two", "10.99.0.1:7011");
  ASSERT_NO_FATAL_FAILURE(start());
  run_or_throw({"nft",
                "add table ip cut; add chain ip cut out { type filter hook output priority "
                "0; }; add rule ip cut out ip daddr 10.99.0.1 tcp flags syn reject with "
                "icmp type host-unreachable"});
  ASSERT_TRUE(eventually([&] {
    (void)ask(kListen);
    return lbd_->service("site").condition != "ok";
  }));
  EXPECT_THAT(source("warnings"), HasSubstr("this host's own network is the likelier fault"));
  run_or_throw({"nft", "delete table ip cut"});
  load_ = std::make_unique<Load>(kListen, 2ms);
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(load_->failed(), 0);
  EXPECT_GT(load_->made(), 0);
  touch("one");
  EXPECT_TRUE(turns("10.99.0.1:7010", "active"));
  EXPECT_EQ(load_->failed(), 0);
}

TEST_P(EtcdEvidence, JunkBelowThePrefixIsLeftAloneAndSaid) {
  configure();
  add("a", kOne);
  add("b", kTwo);
  const std::string junk = base64_encode(std::string(1'000'000, 'x'));
  for (int i = 0; i < 60; ++i) {
    const std::string where = i % 2 == 0 ? fmt::format("{}/a/notes-{}", kUpstream, i)
                                         : fmt::format("{}/junk-{}", kUpstream, i);
    ASSERT_TRUE(post("/v3/kv/put",
                     fmt::format(R"({{"key":"{}","value":"{}"}})", base64_encode(where), junk))
                    .ok());
  }
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), testing::ElementsAre("1", "2"));
  EXPECT_THAT(source("warnings"), HasSubstr("60 keys that lbd does not need"));
  EXPECT_EQ(source("state"), "ok") << source("error");
  drop("b");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1"}; }));
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdEvidence, testing::Values(EtcdStore::V3), store_name);

}  // namespace
}  // namespace lb::test
