// When the backends of a Merlion prefix are fresh, through outages and steps of the clock.
#include "unit/sources/merlion_view_fixture.h"

namespace lb {
namespace {

TEST_F(MerlionViewTest, ExpiresOneMillisecondAfterFreshness) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  (void)build();
  EXPECT_EQ(view_.next_look(), now_.steady + 10s + 1ms);
  pass(10s);
  view_.tick(now_);
  EXPECT_FALSE(view_.dirty());
  pass(1ms);
  view_.tick(now_);
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
    view_.tick(now_);
    EXPECT_FALSE(view_.dirty());
  }
  view_.touch();
  EXPECT_EQ(build().service, before);
}

TEST_F(MerlionViewTest, ANewHeartbeatBringsAStaleBackendBack) {
  add("a", "10.0.0.1:1", stamp(1h));
  sync();
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
  view_.lost(now_);
  pass(1h);
  view_.tick(now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  sync();  // the same old times: their publisher could not write either
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 stale/not-seen"}));
  pass(9999ms);
  view_.tick(now_);
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 active/");
  pass(1ms);
  view_.tick(now_);
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
  pass(10s);
  view_.tick(now_);
  EXPECT_EQ(seen()[0], "a 10.0.0.1:1 stale/not-seen");
}

TEST_F(MerlionViewTest, AStepOfTheWallClockMakesNothingStale) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  step(1h);
  view_.tick(now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  pass(10s);
  view_.tick(now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
}

TEST_F(MerlionViewTest, AnotherFreshnessCountsAtOnce) {
  add("a", "10.0.0.1:1", stamp(8s));
  sync();
  pass(100ms);
  (void)build();
  put("/conf/site/upstream-freshness", "100");
  pass(60s);
  view_.tick(now_);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  put("/conf/site/upstream-freshness", "5");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/not-seen"}));
}

TEST_F(MerlionViewTest, WarnsAboutAClockThatIsAhead) {
  add("a", "10.0.0.1:1", stamp(-90s));
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_NE(warnings().find("etcd key /up/a/last-seen-at: more than 60 s ahead"),
            std::string::npos);
  pass(30s);
  view_.tick(now_);
  EXPECT_EQ(warnings(), "");
}

}  // namespace
}  // namespace lb
