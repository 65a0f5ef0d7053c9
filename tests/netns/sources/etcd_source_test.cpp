// The etcd source against a real etcd. Nothing here sleeps for a result: each test awaits the next
// snapshot, or the one that satisfies it.
#include "sources/etcd_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "netns/sources/etcd_server.h"
#include "support/patience.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using std::chrono::steady_clock;

class EtcdSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdServer::installed()) GTEST_SKIP() << "no /usr/bin/etcd: run tools/setup";
    const auto started = etcd_.start();
    ASSERT_TRUE(started) << started.error().message();
  }

  EtcdSource& source(std::optional<Snapshot> saved = std::nullopt) {
    EtcdSourceConfig config;
    config.access.endpoints = {etcd_.url()};
    config.prefixes = {"/conf/site/"};
    source_ = std::make_unique<EtcdSource>(io_, config, std::move(saved));
    return *source_;
  }

  // One answer of next(); nullopt: silence.
  std::optional<Result<Snapshot>> next(std::chrono::milliseconds patience = 15s) {
    std::optional<Result<Snapshot>> out;
    bool done = false;
    spawn(io_, "test", [&]() -> asio::awaitable<void> {
      asio::steady_timer timer(io_, patience);
      auto answer = source_->next();
      auto silence = timer.async_wait(asio::as_tuple(asio::use_awaitable));
      auto winner = co_await (std::move(answer) || std::move(silence));
      if (winner.index() == 0) out = std::move(std::get<0>(winner));
      done = true;
    });
    io_.restart();
    while (!done) io_.run_one();
    return out;
  }

  // Goes on until a snapshot has exactly these backends; errors are passed over.
  bool reaches(const std::vector<std::string>& want) {
    const auto deadline = steady_clock::now() + 20s;
    while (steady_clock::now() < deadline) {
      auto answer = next(5s);
      if (!answer || !*answer) continue;
      last_ = **answer;
      if (seen(last_) == want) return true;
    }
    return false;
  }

  static std::vector<std::string> seen(const Snapshot& snapshot) {
    std::vector<std::string> out;
    for (const auto& service : snapshot.services)
      for (const Backend& b : service->backends)
        out.push_back(fmt::format("{} {} {}", b.id, b.address.to_string(), to_string(b.state)));
    return out;
  }

  void configure(const std::string& freshness = "300") {
    etcd_.put("/conf/site/upstream-service-etcd-prefix", "/up/");
    etcd_.put("/conf/site/listen-address", "127.0.0.1:8080");
    etcd_.put("/conf/site/upstream-freshness", freshness);
  }
  void add(const std::string& name, const std::string& address, std::int64_t lease = 0) {
    etcd_.put("/up/" + name + "/last-seen-at", format_iso8601(sys_now()), lease);
    etcd_.put("/up/" + name + "/listen-address", address, lease);
  }
  using Lines = std::vector<std::string>;

  asio::io_context io_{1};
  TempFolder folder_;
  EtcdServer etcd_{io_, folder_.path()};
  std::unique_ptr<EtcdSource> source_;
  Snapshot last_;
};

TEST_F(EtcdSourceTest, RangesThenWatches) {
  configure();
  add("a", "10.0.0.1:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  EXPECT_EQ(last_.absence, Absence::Believed);
  EXPECT_NE(last_.revision.find(':'), std::string::npos);
  EXPECT_EQ(last_.services[0]->key.to_string(), "tcp://127.0.0.1:8080");
  add("b", "localhost:81");
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active", "b 127.0.0.1:81 active"}));
  EXPECT_TRUE(source_->status().connected);
  etcd_.put("/up/a/last-seen-at", format_iso8601(sys_now()));
  EXPECT_FALSE(next(200ms));  // a heartbeat
  etcd_.remove("/up/a/listen-address");
  ASSERT_TRUE(reaches({"b 127.0.0.1:81 active"}));
  EXPECT_EQ(last_.absence, Absence::Believed);
  etcd_.put("/conf/site/listen-address", "127.0.0.1:9999");
  ASSERT_TRUE(reaches({"b 127.0.0.1:81 active"}));
  EXPECT_EQ(last_.services[0]->key.port, 9999);
}

TEST_F(EtcdSourceTest, LosesNoChangeHoweverItFallsBetweenRangeAndWatch) {
  configure();
  source();
  ASSERT_TRUE(reaches({}));
  // Each new prefix is a new range and a new watch, while keys under it are being written.
  for (int round = 0; round < 20; ++round) {
    const std::string up = fmt::format("/up{}", round);
    etcd_.put("/conf/site/upstream-service-etcd-prefix", up);
    etcd_.put(up + "/x/last-seen-at", format_iso8601(sys_now()));
    etcd_.put(up + "/x/listen-address", fmt::format("10.0.0.{}:80", round + 1));
    ASSERT_TRUE(reaches({fmt::format("x 10.0.0.{}:80 active", round + 1)})) << round;
  }
}

TEST_F(EtcdSourceTest, SurvivesARestartOfEtcd) {
  configure();
  add("a", "10.0.0.1:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  etcd_.stop();
  const auto lost = next();
  ASSERT_TRUE(lost);
  EXPECT_FALSE(*lost);
  EXPECT_FALSE(source_->status().connected);
  ASSERT_TRUE(etcd_.start());
  add("b", "10.0.0.2:80");
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active", "b 10.0.0.2:80 active"}));
  EXPECT_EQ(last_.absence, Absence::Believed);
}

TEST_F(EtcdSourceTest, AWipedEtcdIsGuarded) {
  configure();
  add("a", "10.0.0.1:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  etcd_.stop();
  etcd_.wipe();
  ASSERT_TRUE(etcd_.start());
  configure();
  for (int i = 0; i < 10 && last_.absence == Absence::Believed; ++i)
    if (auto answer = next(); answer && *answer) last_ = **answer;
  EXPECT_EQ(last_.absence, Absence::Guarded);
}

TEST_F(EtcdSourceTest, ACompactionDuringAnOutageIsNoProblem) {
  configure();
  add("a", "10.0.0.1:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  std::int64_t revision = 0;
  for (int i = 0; i < 20; ++i) revision = etcd_.put("/elsewhere", std::to_string(i));
  etcd_.compact(revision);
  etcd_.stop();
  ASSERT_TRUE(etcd_.start());
  etcd_.compact(etcd_.put("/elsewhere", "again"));
  add("b", "10.0.0.2:80");
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active", "b 10.0.0.2:80 active"}));
}

TEST_F(EtcdSourceTest, HalfWrittenAndJunkKeysAffectOnlyThemselves) {
  configure();
  add("a", "10.0.0.1:80");
  etcd_.put("/up/half/last-seen-at", format_iso8601(sys_now()));
  etcd_.put("/up/junk/listen-address", std::string("\x00\xff\xfe", 3));
  etcd_.put("/up/huge/listen-address", std::string(1 << 20, 'x'));
  etcd_.put("/up/\xff\xfe/listen-address", "10.0.0.9:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  // What may be the first of two puts is told when it stays so.
  const auto told = next(5s);
  ASSERT_TRUE(told && *told);
  const std::string text = fmt::format("{}", fmt::join((*told)->warnings, "\n"));
  for (const char* key : {"/up/half/listen-address", "/up/junk/listen-address",
                          "/up/huge/listen-address", "/up/\\xff\\xfe"})
    EXPECT_NE(text.find(key), std::string::npos) << key << "\n" << text;
  EXPECT_LT(text.size(), 2000U);
  etcd_.put("/up/half/listen-address", "10.0.0.2:80");
  EXPECT_TRUE(reaches({"a 10.0.0.1:80 active", "half 10.0.0.2:80 active"}));
}

TEST_F(EtcdSourceTest, ALeaseThatRunsOutIsGuarded) {
  configure();
  add("a", "10.0.0.1:80");
  const auto lease = etcd_.grant(60);
  add("b", "10.0.0.2:80", lease);
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active", "b 10.0.0.2:80 active"}));
  etcd_.revoke(lease);  // looks to a watcher just like expiry
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  EXPECT_EQ(last_.absence, Absence::Guarded);
}

TEST_F(EtcdSourceTest, ABackendExpiresToTheSecond) {
  configure("2");
  source();
  ASSERT_TRUE(reaches({}));
  const auto start = steady_clock::now();
  add("a", "10.0.0.1:80");
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 stale"}));
  const auto took = steady_clock::now() - start;
  EXPECT_GE(took, 1900ms);
  EXPECT_LE(took, test::promised(3s));
}

TEST_F(EtcdSourceTest, AnInvalidConfigIsNamedAndPickedUpWhenItIsMended) {
  source();
  ASSERT_TRUE(reaches({}));
  EXPECT_TRUE(last_.services.empty());
  ASSERT_EQ(last_.warnings.size(), 1U);
  EXPECT_NE(last_.warnings[0].find("/conf/site/upstream-service-etcd-prefix: missing"),
            std::string::npos);
  add("a", "10.0.0.1:80");
  configure();
  EXPECT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  etcd_.put("/conf/site/upstream-freshness", "soon");
  const auto answer = next();
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ(seen(**answer), (Lines{"a 10.0.0.1:80 active"}));
  EXPECT_EQ((*answer)->warnings.size(), 1U);
}

TEST_F(EtcdSourceTest, StartsFromASavedSnapshotWithEtcdDown) {
  configure("10");
  add("a", "10.0.0.1:80");
  source();
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  const Snapshot saved = last_;
  etcd_.stop();
  source(saved);
  const auto down = next();
  ASSERT_TRUE(down);
  EXPECT_FALSE(*down);
  ASSERT_TRUE(etcd_.start());
  ASSERT_TRUE(reaches({"a 10.0.0.1:80 active"}));
  EXPECT_EQ(last_.services[0], saved.services[0]);  // the same pointer: nothing to do
}

TEST_F(EtcdSourceTest, MayBeDestroyedAtAnyMoment) {
  configure();
  add("a", "localhost:80");
  source();
  source_.reset();
  source();
  (void)next(1ms);
  source_.reset();
  source();
  ASSERT_TRUE(reaches({"a 127.0.0.1:80 active"}));
  source_.reset();
  io_.restart();
  io_.run_for(50ms);
}

TEST_F(EtcdSourceTest, FiftyPutsAreSeenSoon) {
  configure();
  source();
  ASSERT_TRUE(reaches({}));
  std::vector<double> ms;
  etcd_.put("/up/a/last-seen-at", format_iso8601(sys_now()));
  for (int i = 1; i <= 50; ++i) {
    etcd_.put("/up/a/listen-address", fmt::format("10.0.1.{}:80", i));
    const auto start = steady_clock::now();  // the put has been answered
    ASSERT_TRUE(reaches({fmt::format("a 10.0.1.{}:80 active", i)}));
    ms.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - start).count());
  }
  std::sort(ms.begin(), ms.end());
  std::printf("put answered to snapshot: median %.2f ms, max %.2f ms\n", ms[25], ms.back());
  EXPECT_LT(ms.back(), test::promised(1000));
}

}  // namespace
}  // namespace lb
