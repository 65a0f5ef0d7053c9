// What may make all backends vanish and is no evidence that they have gone: an etcd that lost its data,
// came back older, let leases run out, or was away. And what is evidence.
#include <thread>

#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;
using Names = std::vector<std::string>;

constexpr auto kPatientGuard = "[guard]\nmin_missing = 2\nconfirm = \"300s\"\n";

class EtcdLoss : public MerlionNetns {
 protected:
  void serve_three_with(const std::string& guard) {
    lbd_->configure(guard + source_toml({kSite}));
    ASSERT_NO_FATAL_FAILURE(serve_three());
    load_ = std::make_unique<Load>(kListen, 2ms);
  }
  void TearDown() override {
    load_.reset();
    MerlionNetns::TearDown();
  }

  [[nodiscard]] std::string held() const {
    return json_at(lbd_->json({"status"}), "/held/0/missing");
  }
  bool holds(int backends) {
    return eventually([&] { return held() == std::to_string(backends); }, 15s);
  }
  // All three serve, nobody was refused, and lbctl says what is held and what to do about it.
  void expect_held(int backends) {
    ASSERT_TRUE(holds(backends)) << held() << " held; source: " << source("state") << " "
                                 << source("error");
    // What is held is known before it is back in the kernel: one that went alone was believed until the next followed.
    EXPECT_TRUE(eventually([] {
      return who() == Names{"1", "2", "3"};
    })) << fmt::format("{}", fmt::join(who(), " "));
    EXPECT_EQ(load_->failed(), 0);
    const std::string status = lbd_->ctl({"status"}).out;
    EXPECT_THAT(status, HasSubstr("held"));
    EXPECT_THAT(status, HasSubstr(fmt::format("{} of 3", backends)));
    EXPECT_THAT(lbd_->ctl({"sources"}).out, HasSubstr("lbctl resync --accept etcd"));
  }
  // The operator takes etcd's word.
  void expect_accepted(const Names& left) {
    load_->stop();
    const Finished done = lbd_->ctl({"resync", "--accept", "etcd"});
    EXPECT_EQ(done.code, 0) << done.all();
    // A count that the kernel got wrong, with so many connects at once, keeps the last one until it is recounted.
    EXPECT_TRUE(eventually([&] { return who() == left; }, 15s))
        << fmt::format("{}", fmt::join(who(), " "));
    EXPECT_EQ(json_size(lbd_->json({"status"}), "/held"), 0);
  }
  void wipe() {
    etcd_->kill_all();
    etcd_->wipe_all();
    etcd_->restart_all();
  }

  std::unique_ptr<Load> load_;
};

TEST_P(EtcdLoss, WipedDataIsHeldUntilAccepted) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  wipe();
  ASSERT_NO_FATAL_FAILURE(expect_held(3));
  expect_accepted({"errno 111"});
}

TEST_P(EtcdLoss, WipedDataThatIsWrittenAgainLosesNobody) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  wipe();
  configure();
  add("a", kOne);
  ASSERT_NO_FATAL_FAILURE(expect_held(2));
  add("b", kTwo);
  add("c", kThree);
  EXPECT_TRUE(eventually([&] { return held() == "(none)"; }));
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(load_->failed(), 0);
}

TEST_P(EtcdLoss, AdditionsApplyWhileLossesAreHeld) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  wipe();
  const Server fourth("127.0.0.1:7004", "4");
  configure();
  add("d", "127.0.0.1:7004");
  EXPECT_TRUE(eventually([] { return who() == Names{"1", "2", "3", "4"}; }, 15s));
  // Four: the new one was read before the address that its service listens on, which is another prefix.
  EXPECT_THAT(held(), AnyOf("3", "4"));
  EXPECT_EQ(load_->failed(), 0);
  expect_accepted({"4"});
}

TEST_P(EtcdLoss, WhatIsHeldStaysHeldOverARestartOfLbd) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  wipe();
  ASSERT_NO_FATAL_FAILURE(expect_held(3));
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  ASSERT_NO_FATAL_FAILURE(expect_held(3));
  expect_accepted({"errno 111"});
}

TEST_P(EtcdLoss, AWipeThatLastsIsBelievedAfterConfirmationOnly) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with("[guard]\ntotal = \"3s\"\nconfirm = \"1s\"\n"));
  wipe();
  ASSERT_TRUE(holds(3));
  const auto begin = Clock::now();
  load_->stop();
  EXPECT_EQ(load_->failed(), 0);
  EXPECT_TRUE(eventually([] { return ask(kListen) == "errno 111"; }, 20s));
  EXPECT_GE(Clock::now() - begin, 2500ms);
}

TEST_P(EtcdLoss, OlderDataIsHeld) {
  configure();
  add("a", kOne);
  etcd_->kill_all();
  etcd_->save_all("backup");
  etcd_->restart_all();
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  etcd_->kill_all();
  etcd_->restore_all("backup");
  etcd_->restart_all();
  ASSERT_NO_FATAL_FAILURE(expect_held(2));
  expect_accepted({"1"});
}

TEST_P(EtcdLoss, EverythingThatExpiresAtOnceIsHeld) {
  lbd_->configure(kPatientGuard + source_toml({kSite}));
  configure();
  int server = 0;
  for (const auto* address : {kOne, kTwo, kThree}) {
    const std::string name(1, static_cast<char>('a' + server++));
    keys_->put_for(3s, key(name, "last-seen-at"), now());
    keys_->put_for(3s, key(name, "listen-address"), address);
  }
  ASSERT_NO_FATAL_FAILURE(start());
  load_ = std::make_unique<Load>(kListen, 2ms);
  ASSERT_NO_FATAL_FAILURE(expect_held(3));
  EXPECT_TRUE(eventually([&] { return keys_->list(kUpstream).empty(); }, 15s));
  EXPECT_EQ(lbd_->service("site").condition, "ok");
  expect_accepted({"errno 111"});
}

TEST_P(EtcdLoss, TheDeletionOfEverythingIsBelievedAtOnce) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  load_->stop();
  const auto begin = Clock::now();
  keys_->remove_tree(kUpstream);
  EXPECT_TRUE(eventually([] { return ask(kListen) == "errno 111"; }));
  EXPECT_LT(Clock::now() - begin, promised(2s));
  EXPECT_EQ(json_size(lbd_->json({"status"}), "/held"), 0);
}

TEST_P(EtcdLoss, DeletionsDuringAnOutageAreBelieved) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  etcd_->cut_off_lbd();
  ASSERT_TRUE(eventually([&] { return source("state") == "failing"; }));
  drop("b");
  drop("c");
  std::this_thread::sleep_for(300ms);
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  etcd_->let_lbd_in();
  EXPECT_TRUE(eventually([] { return who() == Names{"1"}; }, 15s));
  EXPECT_EQ(load_->failed(), 0);
}

// History that lbd would have had to read is gone when it comes back: 1,000 events are what v2 keeps.
TEST_P(EtcdLoss, HistoryThatIsGoneIsNoLoss) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  etcd_->cut_off_lbd();
  ASSERT_TRUE(eventually([&] { return source("state") == "failing"; }));
  drop("b");
  for (int i = 0; i < 1100; ++i) keys_->put("/elsewhere", std::to_string(i));
  if (GetParam() == EtcdStore::V3) keys_->compact(keys_->revision());
  etcd_->let_lbd_in();
  EXPECT_TRUE(eventually([] { return who() == Names{"1", "3"}; }, 15s));
  EXPECT_EQ(load_->failed(), 0);
  EXPECT_TRUE(eventually([&] { return source("state") == "ok"; }, 15s)) << source("error");
}

TEST_P(EtcdLoss, AnOutageOfTwiceTheFreshnessMakesNothingStale) {
  constexpr auto kFreshness = 3s;
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  for (const auto* name : {"a", "b", "c"}) touch(name);
  set("upstream-freshness", "3");
  etcd_->kill_all();
  std::this_thread::sleep_for(2 * kFreshness);
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  const auto back = Clock::now();
  etcd_->restart_all();
  // a is published again; the others get one full freshness to be.
  ASSERT_TRUE(eventually([&] { return source("state") == "ok"; }, 15s));
  const auto publish = [&] { touch("a"); };
  while (Clock::now() - back < kFreshness - 500ms) {
    publish();
    EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
    std::this_thread::sleep_for(200ms);
  }
  EXPECT_TRUE(eventually(
      [&] {
        publish();
        return who() == Names{"1"};
      },
      15s));
  EXPECT_GE(Clock::now() - back, kFreshness);
  EXPECT_EQ(load_->failed(), 0);
}

TEST_P(EtcdLoss, ASavedSnapshotServesWhenEtcdIsDownAtStart) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  set("upstream-freshness", "3");
  ASSERT_TRUE(eventually([&] { return source("state") == "ok"; }));
  load_->stop();
  EXPECT_EQ(lbd_->stop(), 0);
  ASSERT_EQ(run(lbd_->command("detach")).code, 0);  // as after a reboot
  EXPECT_EQ(ask(kListen), "errno 111");
  etcd_->kill_all();
  std::this_thread::sleep_for(3s);  // longer than the freshness
  ASSERT_TRUE(lbd_->start());
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(source("saved"), "true");
  EXPECT_THAT(lbd_->ctl({"sources"}).out, HasSubstr("saved"));
  EXPECT_LT(source("as_of"), now(-3s)) << "its age is that of what was read, not of the start";
  std::this_thread::sleep_for(4s);
  EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdLoss, testing::ValuesIn(kStores), store_name);

// Leases are v3's. To a watcher one that is revoked looks like one that ran out.
class EtcdLeases : public EtcdLoss {};

TEST_P(EtcdLeases, AllThatAreRevokedAtOnceAreHeld) {
  lbd_->configure(kPatientGuard + source_toml({kSite}));
  configure();
  std::vector<std::int64_t> leases;
  int server = 0;
  for (const auto* address : {kOne, kTwo, kThree}) {
    const std::string name(1, static_cast<char>('a' + server++));
    leases.push_back(keys_->grant(600s));
    keys_->put(key(name, "last-seen-at"), now(), leases.back());
    keys_->put(key(name, "listen-address"), address, leases.back());
  }
  ASSERT_NO_FATAL_FAILURE(start());
  load_ = std::make_unique<Load>(kListen, 2ms);
  ASSERT_TRUE(eventually([] { return who() == Names{"1", "2", "3"}; }));
  for (const std::int64_t lease : leases) keys_->revoke(lease);
  // One after the other, each plausible alone.
  ASSERT_NO_FATAL_FAILURE(expect_held(3));
}

TEST_P(EtcdLeases, OneThatIsRevokedIsBelieved) {
  ASSERT_NO_FATAL_FAILURE(serve_three_with(kPatientGuard));
  const Server fourth("127.0.0.1:7004", "4");
  const std::int64_t lease = keys_->grant(600s);
  keys_->put(key("d", "last-seen-at"), now(), lease);
  keys_->put(key("d", "listen-address"), "127.0.0.1:7004", lease);
  ASSERT_TRUE(eventually([] { return who() == Names{"1", "2", "3", "4"}; }));
  keys_->revoke(lease);
  EXPECT_TRUE(eventually([] { return who() == Names{"1", "2", "3"}; }));
  EXPECT_EQ(load_->failed(), 0);
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdLeases, testing::Values(EtcdStore::V3), store_name);

}  // namespace
}  // namespace lb::test
