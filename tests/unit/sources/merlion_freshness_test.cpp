// When the backends of a Merlion prefix are fresh, through outages, steps of the clock and faults that
// all of them share.
#include <cerrno>

#include "unit/sources/merlion_view_fixture.h"

namespace lb {
namespace {

TEST_F(MerlionViewTest, ExpiresOneMillisecondAfterFreshness) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  (void)build();
  EXPECT_EQ(view_.next_look(), now_.steady + 10s + 1ms);
  pass(10s);
  look();
  EXPECT_FALSE(view_.dirty());
  pass(1ms);
  look();
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
}

TEST_F(MerlionViewTest, AHeartbeatChangesNothingAndKeepsThePointer) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  const auto before = build().service;
  for (int i = 0; i < 10; ++i) {
    pass(9s);
    put("/up/a/last-seen-at", stamp());
    EXPECT_FALSE(view_.dirty());
    look();
    EXPECT_FALSE(view_.dirty());
  }
  view_.touch();
  EXPECT_EQ(build().service, before);
}

TEST_F(MerlionViewTest, ANewHeartbeatBringsAStaleBackendBack) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  pass(10001ms);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
  put("/up/a/last-seen-at", stamp());
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
}

TEST_F(MerlionViewTest, ATimeInTheFutureIsFresh) {
  add("a", "10.0.0.1:1", stamp(-1h));
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
}

TEST_F(MerlionViewTest, AnOutageMakesNothingStaleForOneFullFreshness) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp(1h));
  sync();
  EXPECT_EQ(seen()[1], "b 10.0.0.2:1 stale/not-seen");
  view_.lost(now_);
  pass(1h);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  sync();  // the same old times: their publisher could not write either
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  pass(9999ms);
  look();
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 active/");
  pass(1ms);
  look();
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 stale/not-seen");
}

TEST_F(MerlionViewTest, WhatWasSavedAsActiveGetsOneFullFreshness) {
  Service saved;
  saved.backends.resize(2);
  saved.backends[0].id = "a";
  saved.backends[1].id = "b";
  saved.backends[1].state = BackendState::Stale;
  view_ = MerlionView("/conf/site", std::make_shared<const Service>(saved));
  add("a", "10.0.0.1:1", stamp(1h));
  add("b", "10.0.0.2:1", stamp(1h));
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  pass(10001ms);
  look();
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 stale/not-seen");
}

TEST_F(MerlionViewTest, AStepOfTheWallClockMakesNothingStaleAndKeepsNothing) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  for (const auto by : {1h, -24h}) {
    put("/up/a/last-seen-at", stamp());
    step(by);
    look();
    EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
    pass(10s);
    look();
    EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
    pass(1ms);
    look();
    EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
  }
}

TEST_F(MerlionViewTest, AnotherFreshnessCountsAtOnce) {
  add("a", "10.0.0.1:1", stamp(8s));
  sync();
  pass(100ms);
  (void)build();
  put("/conf/site/upstream-freshness", "100");
  pass(60s);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  put("/conf/site/upstream-freshness", "5");
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
}

TEST_F(MerlionViewTest, WarnsAboutAClockThatIsAhead) {
  add("a", "10.0.0.1:1", stamp(-90s));
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_NE(warnings().find("etcd key /up/a/last-seen-at: more than 60 s ahead"),
            std::string::npos);
  pass(30s);
  look();
  EXPECT_EQ(warnings(), "");
}

TEST_F(MerlionViewTest, AtFirstSightTheNewestOfAllTellsWhatIsOld) {
  for (const auto off : {1h, -24h, 0h}) {  // this host's clock is ahead, behind, right
    view_ = MerlionView("/conf/site");
    backends_.clear();
    add("a", "10.0.0.1:1", stamp(off));
    add("b", "10.0.0.2:1", stamp(off + 5s));
    add("c", "10.0.0.3:1", stamp(off + 11s));
    sync();
    EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/",
                             "c 10.0.0.3:1 stale/not-seen"}));
    pass(5001ms);
    put("/up/a/last-seen-at", stamp(off));
    look();
    EXPECT_EQ(seen()[1], "b 10.0.0.2:1 stale/not-seen");
    put("/up/c/last-seen-at", stamp(off));
    EXPECT_EQ(seen()[2], "c 10.0.0.3:1 active/");
  }
}

TEST_F(MerlionViewTest, AtFirstSightOnePublisherThatIsAheadMakesNobodyOld) {
  add("a", "10.0.0.1:1", stamp(-10min));
  add("b", "10.0.0.2:1", stamp());
  add("c", "10.0.0.3:1", stamp(1s));
  sync();
  EXPECT_EQ(seen(),
            (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/", "c 10.0.0.3:1 active/"}));
}

TEST_F(MerlionViewTest, NamesThisHostsClockWhenAllDisagreeWithIt) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  step(1h);
  put("/up/a/last-seen-at", stamp(59min));
  EXPECT_NE(warnings().find("etcd key /up/a/last-seen-at: more than 60 s behind"),
            std::string::npos);
  put("/up/b/last-seen-at", stamp(59min));
  EXPECT_NE(warnings().find("all 2 backends is more than 60 s behind this host's clock"),
            std::string::npos)
      << warnings();
  step(-2h);
  put("/up/a/last-seen-at", stamp(-61min));
  put("/up/b/last-seen-at", stamp(-61min));
  EXPECT_NE(warnings().find("all 2 backends is more than 60 s ahead of this host's clock"),
            std::string::npos)
      << warnings();
}

// As a later run sees it, which loads what this one has delivered.
TEST_F(MerlionViewTest, ARestartBringsNoDeadBackendBack) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  pass(10001ms);
  put("/up/a/last-seen-at", stamp());
  look();
  const auto before = build().service;
  view_ = MerlionView("/conf/site", before, now_.wall);
  pass(1s);
  backends_[0].value = stamp();  // of a
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  put("/up/b/last-seen-at", stamp(1h));
  EXPECT_EQ(seen()[1], "b 10.0.0.2:1 active/");
}

TEST_F(MerlionViewTest, AFullEtcdMakesNothingStale) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  view_.set_full("alarm NOSPACE", now_);
  EXPECT_NE(warnings().find("etcd takes no writes (alarm NOSPACE)"), std::string::npos);
  pass(1h);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/"}));
  view_.set_full("", now_);
  pass(9999ms);
  put("/up/a/last-seen-at", stamp());
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/"}));
  pass(1ms);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  EXPECT_EQ(warnings(), "");
}

TEST_F(MerlionViewTest, OnWakingLateItReadsFirst) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  pass(1h);  // frozen, while a went on
  view_.tick(now_);
  EXPECT_TRUE(view_.unconfirmed());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  const auto asked = now_.steady;
  put("/up/a/last-seen-at", stamp(59min));
  pass(100ms);
  put("/up/a/last-seen-at", stamp());
  view_.confirm(asked, now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_FALSE(view_.unconfirmed());
}

TEST_F(MerlionViewTest, AllThatFallSilentTogetherStayForLbdsOwnProbe) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp(4s));
  add("dead", "10.0.0.3:1", stamp(1h));
  sync();
  EXPECT_FALSE(build().service->check);
  pass(6001ms);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen",
                           "dead 10.0.0.3:1 stale/not-seen"}));
  pass(4s);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 unknown/not-seen", "b 10.0.0.2:1 unknown/not-seen",
                           "dead 10.0.0.3:1 stale/not-seen"}));
  EXPECT_TRUE(build().service->check);
  EXPECT_NE(warnings().find("2 backends fell silent together"), std::string::npos) << warnings();
  pass(1h);
  look();
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 unknown/not-seen");
  // One is heard of: the other has one freshness for the same.
  put("/up/a/last-seen-at", stamp());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/",
                           "dead 10.0.0.3:1 stale/not-seen"}));
  EXPECT_FALSE(build().service->check);
  EXPECT_EQ(warnings(), "");
  pass(10s);
  put("/up/a/last-seen-at", stamp());
  look();
  EXPECT_EQ(seen()[1], "b 10.0.0.2:1 stale/not-seen");
}

TEST_F(MerlionViewTest, OneThatFallsSilentAloneIsStale) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  pass(10001ms);
  look();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
}

class FailedTogether : public MerlionViewTest {
 protected:
  void SetUp() override {
    add("a", "10.0.0.1:1", stamp());
    add("b", "10.0.0.2:1", stamp());
    sync();
    (void)build();
  }
  void fail(const char* address, int error = EHOSTUNREACH) {
    ConnectFailure own;
    own.backend = *Address::parse(address);
    own.error = error;
    own.confirmed = true;
    EXPECT_FALSE(view_.connect_failed(own, now_));
  }
};

TEST_F(FailedTogether, AreTheLastResortUntilOneIsHeardOf) {
  fail("10.0.0.1:1");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/connect-failed", "b 10.0.0.2:1 active/"}));
  pass(9s);
  fail("10.0.0.2:1");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/unreachable", "b 10.0.0.2:1 exited/unreachable"}));
  EXPECT_TRUE(build().service->check);
  EXPECT_NE(warnings().find("this host's own network is the likelier fault"), std::string::npos);
  fail("10.0.0.1:1");  // and again
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 exited/unreachable");
  put("/up/b/last-seen-at", stamp());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/connect-failed", "b 10.0.0.2:1 active/"}));
  EXPECT_FALSE(build().service->check);
}

TEST_F(FailedTogether, WhatIsStaleOrDisabledIsNoLastResort) {
  add("c", "10.0.0.3:1", stamp(1h));
  add("d", "10.0.0.4:1", stamp());
  backends_.push_back({"/up/d/disabled", "1", 1, 0});
  sync();
  (void)build();
  for (const char* one : {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"}) fail(one);
  EXPECT_EQ(seen(),
            (Lines{"a 10.0.0.1:1 exited/unreachable", "b 10.0.0.2:1 exited/unreachable",
                   "c 10.0.0.3:1 exited/connect-failed", "d 10.0.0.4:1 disabled/disabled"}));
}

TEST_F(FailedTogether, NotOneAfterTheOther) {
  put("/conf/site/upstream-freshness", "100");
  fail("10.0.0.1:1");
  pass(10001ms);
  fail("10.0.0.2:1");
  EXPECT_EQ(seen(),
            (Lines{"a 10.0.0.1:1 exited/connect-failed", "b 10.0.0.2:1 exited/connect-failed"}));
}

TEST_F(FailedTogether, OfOneAloneARefusalIsItsOwn) {
  backends_.resize(2);
  sync();
  (void)build();
  fail("10.0.0.1:1", ECONNREFUSED);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/connect-failed"}));
  put("/up/a/last-seen-at", stamp(-1s));
  fail("10.0.0.1:1", ENETUNREACH);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/unreachable"}));
}

// An operator drains one of them afterwards.
TEST_F(FailedTogether, TheOthersStayTheLastResortWhenOneIsDrained) {
  fail("10.0.0.1:1", ECONNREFUSED);
  fail("10.0.0.2:1", ECONNREFUSED);
  (void)build();
  view_.set_unused(
      {{ServiceKey::parse("127.0.0.1:8080").value(), Address::parse("10.0.0.2:1").value()}}, now_);
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 exited/unreachable");
}

TEST_F(FailedTogether, StayTheLastResortOverARestart) {
  fail("10.0.0.1:1");
  fail("10.0.0.2:1");
  const auto before = build().service;
  pass(1s);
  view_ = MerlionView("/conf/site", before, now_.wall);
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/unreachable", "b 10.0.0.2:1 exited/unreachable"}));
}

// It cannot be tried, and so it cannot fail.
TEST_F(FailedTogether, ADrainedOneIsNoneOfThem) {
  (void)build();
  view_.set_unused(
      {{ServiceKey::parse("127.0.0.1:8080").value(), Address::parse("10.0.0.2:1").value()}}, now_);
  fail("10.0.0.1:1");
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 exited/unreachable");
}

// It writes a moment after the last one that is used, and expires a moment later.
TEST_F(FailedTogether, ADrainedOneDoesNotProveThatTheOthersAreSilentAlone) {
  (void)build();
  view_.set_unused(
      {{ServiceKey::parse("127.0.0.1:8080").value(), Address::parse("10.0.0.2:1").value()}}, now_);
  pass(2s);
  put("/up/b/last-seen-at", stamp());
  pass(8001ms);
  look();
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 unknown/not-seen");
}

// Their keys are deleted one by one.
TEST_F(FailedTogether, OneWithoutAddressIsNoneOfThem) {
  const Unused drained{
      {ServiceKey::parse("127.0.0.1:8080").value(), Address::parse("10.0.0.2:1").value()}};
  view_.set_unused(drained, now_);
  fail("10.0.0.1:1");
  del("/up/b/listen-address");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/unreachable"}));
  view_.set_unused({}, now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/unreachable"}));
}

// A listing of another cluster, or of an old state, that lacks the key.
TEST_F(FailedTogether, AListingThatIsNotTrustedTakesNoSignOfLife) {
  std::erase_if(backends_, [](const auto& kv) { return kv.key == "/up/a/last-seen-at"; });
  sync(false);
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 active/");
  pass(10001ms);
  put("/up/b/last-seen-at", stamp());
  look();
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 stale/not-seen");
  sync(true);
  EXPECT_EQ(seen().front(), "a 10.0.0.1:1 stale/never-seen");
}

}  // namespace
}  // namespace lb
