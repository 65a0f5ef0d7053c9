// One Merlion backend: what failed connects, clocks that disagree and half-written keys do to it.
#include "sources/merlion_backend.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

class MerlionBackendTest : public testing::Test {
 protected:
  void pass(std::chrono::milliseconds time) {
    now_.wall += time;
    now_.steady += time;
  }
  void seen(std::chrono::milliseconds ago = 0ms) {
    backend_.set("last-seen-at", format_iso8601(now_.wall - ago), now_);
  }
  BackendState judge(bool in_sync = true) {
    judged_ = backend_.judge({10s, in_sync}, now_);
    return backend_.state();
  }
  void fail_connect() {
    backend_.connect_failed("Cannot connect to a/10.0.0.1:1", true, now_);
    EXPECT_EQ(judge(), BackendState::Exited);
  }

  Moment now_{SysTime(1'700'000'000'000ms), std::chrono::steady_clock::time_point(1000h)};
  MerlionBackend backend_{now_};
  MerlionBackend::Judgement judged_;
};

class LiveMerlionBackend : public MerlionBackendTest {
 protected:
  void SetUp() override {
    backend_.set("listen-address", "10.0.0.1:1", now_);
    seen();
    EXPECT_EQ(judge(), BackendState::Active);
  }
};

TEST_F(LiveMerlionBackend, IsOutAfterAFailedConnectUntilANewerSignOfLife) {
  pass(2s);
  fail_connect();
  EXPECT_EQ(backend_.reason(), Reason::ConnectFailed);
  EXPECT_TRUE(backend_.unavailable());
  ASSERT_TRUE(backend_.exit());
  EXPECT_EQ(backend_.exit()->at, now_.wall);
  pass(1s);
  EXPECT_EQ(judge(), BackendState::Exited);
  seen();
  EXPECT_EQ(judge(), BackendState::Active);
  EXPECT_FALSE(backend_.exit());
}

TEST_F(LiveMerlionBackend, IsBackWhenItWasSeenAtTheMomentOfTheFailure) {
  pass(2s);
  fail_connect();
  seen();
  EXPECT_EQ(judge(), BackendState::Active);
}

TEST_F(LiveMerlionBackend, StaysOutWhenTheSameTimeIsWrittenAgain) {
  pass(2s);
  fail_connect();
  seen(2s);
  seen(2s);
  EXPECT_EQ(judge(), BackendState::Exited);
}

TEST_F(LiveMerlionBackend, IsNotBackByASignOfLifeThatWasUnderWay) {
  pass(2s);
  fail_connect();
  seen(1s);
  EXPECT_EQ(judge(), BackendState::Exited);
}

TEST_F(LiveMerlionBackend, IsBackByTheSecondSignOfLifeOfASlowClock) {
  pass(2s);
  fail_connect();
  pass(5s);
  seen(6s);
  EXPECT_EQ(judge(), BackendState::Exited);
  pass(1s);
  seen(6s);
  EXPECT_EQ(judge(), BackendState::Active);
}

TEST_F(LiveMerlionBackend, IsBackByTheSecondSignOfLifeOfAClockThatWasSetBack) {
  pass(2s);
  fail_connect();
  seen(1h);
  EXPECT_EQ(judge(), BackendState::Exited);
  pass(1s);
  seen(1h);
  EXPECT_EQ(judge(), BackendState::Active);
}

TEST_F(LiveMerlionBackend, OfAFastClockIsOutToo) {
  seen(-30s);
  pass(2s);
  fail_connect();
  seen(-30s);
  EXPECT_EQ(judge(), BackendState::Active);
}

TEST_F(LiveMerlionBackend, IsTriedAgainAfterHalfAMinuteWhileEtcdIsAway) {
  pass(2s);
  fail_connect();
  EXPECT_EQ(judge(false), BackendState::Exited);
  EXPECT_EQ(judged_.next_look, now_.steady + 30s);
  pass(29s);
  EXPECT_EQ(judge(false), BackendState::Exited);
  pass(1s);
  EXPECT_EQ(judge(false), BackendState::Active);
  // Back in sync, what etcd says decides: it has not been seen since.
  EXPECT_EQ(judge(true), BackendState::Exited);
}

TEST_F(LiveMerlionBackend, KeepsItsExitOverAListing) {
  pass(2s);
  fail_connect();
  MerlionBackend listed(now_);
  listed.continue_from(backend_);
  listed.set("listen-address", "10.0.0.1:1", now_);
  listed.set("last-seen-at", format_iso8601(now_.wall - 2s), now_);
  listed.end_listing();
  (void)listed.judge({10s, true}, now_);
  EXPECT_EQ(listed.state(), BackendState::Exited);
}

TEST_F(LiveMerlionBackend, LosesWhatAListingDoesNotName) {
  MerlionBackend listed(now_);
  listed.continue_from(backend_);
  listed.set("listen-address", "10.0.0.1:1", now_);
  listed.end_listing();
  (void)listed.judge({10s, true}, now_);
  EXPECT_EQ(listed.reason(), Reason::NeverSeen);
}

TEST_F(MerlionBackendTest, RemembersItsExitOverARestart) {
  backend_.continue_saved({BackendState::Exited, Reason::ConnectFailed}, now_.wall, now_);
  backend_.set("listen-address", "10.0.0.1:1", now_);
  seen(5s);
  backend_.end_listing();
  EXPECT_EQ(judge(), BackendState::Exited);
  pass(1s);
  seen();
  EXPECT_EQ(judge(), BackendState::Active);
}

TEST_F(LiveMerlionBackend, IsUnavailableAndDisabledAtOnce) {
  backend_.set("disabled", "true", now_);
  EXPECT_EQ(judge(), BackendState::Disabled);
  EXPECT_FALSE(backend_.unavailable());
  pass(11s);
  EXPECT_EQ(judge(), BackendState::Disabled);
  EXPECT_TRUE(backend_.unavailable());
  EXPECT_TRUE(judged_.changed);
}

TEST_F(LiveMerlionBackend, IsAliveAsLongAsItsLastSeenAtChangesWhateverTheClocksSay) {
  for (int i = 0; i < 5; ++i) {
    seen(1h);
    EXPECT_EQ(judge(), BackendState::Active);
    EXPECT_TRUE(backend_.is_behind());
    pass(9s);
  }
  pass(1s);
  EXPECT_EQ(judge(), BackendState::Active);
  pass(1ms);
  EXPECT_EQ(judge(), BackendState::Stale);
}

TEST_F(LiveMerlionBackend, WritesNothingButTheSameAndIsDeadAfterFreshness) {
  for (int i = 0; i < 11; ++i) {
    (void)backend_.set("last-seen-at", format_iso8601(SysTime(1'700'000'000'000ms)), now_);
    EXPECT_EQ(judge(), BackendState::Active);
    pass(1s);
  }
  EXPECT_EQ(judge(), BackendState::Stale);
}

TEST_F(LiveMerlionBackend, DoesNotExpireBeforeEtcdHadItsSay) {
  pass(1h);
  const auto expired = backend_.judge({10s, true, now_.steady - 1h}, now_);
  EXPECT_EQ(backend_.state(), BackendState::Active);
  EXPECT_TRUE(expired.unconfirmed);
  (void)backend_.judge({10s, true, now_.steady}, now_);
  EXPECT_EQ(backend_.state(), BackendState::Stale);
}

TEST_F(LiveMerlionBackend, IsFreshAndWarnedAboutWhenItsClockIsAhead) {
  seen(-60s);
  (void)judge();
  EXPECT_FALSE(backend_.is_ahead());
  seen(-61s);
  EXPECT_EQ(judge(), BackendState::Active);
  EXPECT_TRUE(backend_.is_ahead());
  EXPECT_TRUE(judged_.changed);
  EXPECT_EQ(judged_.next_look, now_.steady + 1s);
  pass(1s);
  (void)judge();
  EXPECT_FALSE(backend_.is_ahead());
}

// Nanoseconds on a steady clock end after 292 years, a written time in the year 9999.
TEST_F(LiveMerlionBackend, IsLookedAtAgainHoweverFarAheadItsClockIs) {
  for (const auto* written : {"2723-11-14T22:13:20Z", "9999-12-31T23:59:59Z"}) {
    (void)backend_.set("last-seen-at", written, now_);
    EXPECT_EQ(judge(), BackendState::Active);
    EXPECT_TRUE(backend_.is_ahead());
    EXPECT_GT(judged_.next_look, now_.steady);
    EXPECT_LE(judged_.next_look, now_.steady + 24h);
  }
}

TEST_F(MerlionBackendTest, IsIncompleteOnlyAfterAMoment) {
  seen();
  (void)judge();
  EXPECT_FALSE(backend_.is_incomplete());
  EXPECT_EQ(judged_.next_look, now_.steady + 2s);
  pass(2s);
  (void)judge();
  EXPECT_TRUE(backend_.is_incomplete());
  EXPECT_TRUE(judged_.changed);
  backend_.set("listen-address", "10.0.0.1:1", now_);
  (void)judge();
  EXPECT_FALSE(backend_.is_incomplete());
}

struct FailureCase {
  ConnectFailure::Kind kind;
  int error;
  bool tells;
};
class FailedConnect : public testing::TestWithParam<FailureCase> {};

TEST_P(FailedConnect, SaysSomethingOfTheBackendOrNot) {
  const ConnectFailure failure{GetParam().kind, {}, {}, GetParam().error};
  EXPECT_EQ(tells_of_backend(failure), GetParam().tells);
}

using Kind = ConnectFailure::Kind;
INSTANTIATE_TEST_SUITE_P(Kinds, FailedConnect,
                         testing::Values(FailureCase{Kind::Refused, ECONNREFUSED, true},
                                         FailureCase{Kind::TimedOut, ETIMEDOUT, true},
                                         FailureCase{Kind::Other, EHOSTUNREACH, true},
                                         FailureCase{Kind::Other, ENETUNREACH, true},
                                         FailureCase{Kind::Other, EACCES, false},
                                         FailureCase{Kind::Other, EADDRNOTAVAIL, false},
                                         FailureCase{Kind::Other, 0, false},
                                         FailureCase{Kind::GaveUp, 0, false},
                                         FailureCase{Kind::SynRetransmitted, 0, false}));

}  // namespace
}  // namespace lb
