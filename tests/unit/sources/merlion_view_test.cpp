// What the keys of a Merlion prefix say, and what their absence says.
#include <cerrno>

#include "unit/sources/merlion_view_fixture.h"

namespace lb {
namespace {

TEST_F(MerlionViewTest, MakesOneServiceOfAPrefix) {
  add("a", "10.0.0.2:80", stamp());
  add("b", "[fd00::1]:81", stamp());
  add("c", "10.0.0.1:82", stamp());
  sync();
  const auto built = build();
  ASSERT_TRUE(built.service);
  EXPECT_EQ(built.service->name, "site");
  EXPECT_EQ(built.service->origin, "/conf/site");
  EXPECT_EQ(built.service->key.to_string(), "tcp://127.0.0.1:8080");
  ASSERT_EQ(built.service->backends.size(), 3U);
  const Backend& first = built.service->backends[0];
  EXPECT_EQ(first.id, "c");
  EXPECT_EQ(first.host, "10.0.0.1");
  EXPECT_EQ(first.origin, "/up/c");
  EXPECT_EQ(first.weight, kDefaultWeight);
  EXPECT_TRUE(built.warnings.empty());
  EXPECT_EQ(built.absence, Absence::Believed);
  EXPECT_FALSE(view_.suspicious(now_));
}

TEST_F(MerlionViewTest, TellsTheFourStates) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  add("c", "10.0.0.3:1", stamp(11s));
  backends_.push_back({"/up/b/disabled", "1", 1, 0});
  backends_.push_back({"/up/d/listen-address", "10.0.0.4:1", 1, 0});
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 disabled/disabled",
                           "c 10.0.0.3:1 stale/not-seen", "d 10.0.0.4:1 stale/never-seen"}));
}

TEST_F(MerlionViewTest, DisablingAndEnablingIsFollowed) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  put("/up/a/disabled", "TRUE");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 disabled/disabled"}));
  put("/up/a/disabled", "off");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  put("/up/a/disabled", "yes");
  del("/up/a/disabled");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
}

TEST_F(MerlionViewTest, OneBadBackendAffectsOnlyItself) {
  add("a", "10.0.0.1:1", stamp());
  add("bad-address", "nonsense", stamp());
  add("bad-time", "10.0.0.3:1", "yesterday");
  backends_.push_back({"/up/half/last-seen-at", stamp(), 1, 0});
  backends_.push_back({"/up/plain", "value", 1, 0});
  backends_.push_back({"/up/\xff\xfe/listen-address", "10.0.0.9:1", 1, 0});
  backends_.push_back({"/up/huge/listen-address", std::string(1 << 20, '\x01'), 1, 0});
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "bad-time 10.0.0.3:1 stale/never-seen"}));
  pass(2s);
  look();
  const std::string text = warnings();
  EXPECT_NE(text.find("etcd key /up/bad-address/listen-address: 'nonsense'"), std::string::npos);
  EXPECT_NE(text.find("etcd key /up/bad-time/last-seen-at: 'yesterday'"), std::string::npos);
  EXPECT_NE(text.find("etcd key /up/half/listen-address: missing"), std::string::npos);
  EXPECT_NE(text.find("etcd key /up/plain: is a value"), std::string::npos);
  EXPECT_NE(text.find("etcd key /up/\\xff\\xfe: the name is not printable"), std::string::npos);
  EXPECT_NE(text.find("etcd key /up/huge/listen-address: '\\x01"), std::string::npos);
  EXPECT_LT(text.size(), 2000U);
  EXPECT_EQ(text.find('\x01'), std::string::npos);
}

TEST_F(MerlionViewTest, ABadValueKeepsTheLastGoodOneAlsoThroughAResync) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  put("/up/a/listen-address", "\xff");
  put("/up/a/last-seen-at", "never");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  backends_ = {{"/up/a/last-seen-at", "never", 3, 0}, {"/up/a/listen-address", "\xff", 2, 0}};
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_NE(warnings().find("/up/a/listen-address"), std::string::npos);
  put("/up/a/listen-address", "10.0.0.7:1");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.7:1 active/"}));
}

TEST_F(MerlionViewTest, AHalfWrittenBackendAppearsWhenItIsComplete) {
  sync();
  (void)build();
  put("/up/a/last-seen-at", stamp());
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(warnings(), "");  // it may be the first of two puts
  pass(2s);
  look();
  EXPECT_NE(warnings().find("/up/a/listen-address: missing"), std::string::npos);
  put("/up/a/listen-address", "10.0.0.1:1");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_EQ(warnings(), "");
}

TEST_F(MerlionViewTest, ADeletedKeyWithoutLeaseIsEvidence) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  del("/up/a/last-seen-at");
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 stale/never-seen"}));
  del("/up/a/listen-address");
  EXPECT_EQ(seen(), Lines{});
  EXPECT_FALSE(view_.suspicious(now_));
  EXPECT_EQ(warnings(), "");
}

TEST_F(MerlionViewTest, ALeaseThatRanOutIsNoEvidenceOfAbsence) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  del("/up/a/last-seen-at", 77);
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));  // expires by freshness
  del("/up/a/listen-address", 77);
  EXPECT_EQ(seen(), Lines{});
  EXPECT_TRUE(view_.suspicious(now_));
  EXPECT_FALSE(view_.suspicious_listing(now_)) << "it is its own silence";
  pass(1h);
  EXPECT_FALSE(view_.suspicious(now_));
}

TEST_F(MerlionViewTest, ADeleteWithoutItsPreviousValueIsNoEvidence) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  view_.apply(Event{true, KeyValue{"/up/a/listen-address", "", 9, 0}, std::nullopt}, now_);
  EXPECT_TRUE(view_.suspicious(now_));
}

TEST_F(MerlionViewTest, AnUntrustedRangeAndAnEmptyRootAreSuspicious) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  (void)build();
  EXPECT_FALSE(view_.suspicious(now_));
  sync(false);
  EXPECT_TRUE(view_.suspicious(now_));
  EXPECT_TRUE(view_.suspicious_listing(now_));
  pass(1h);
  EXPECT_FALSE(view_.suspicious_listing(now_));
  backends_.clear();
  sync();
  EXPECT_EQ(seen(), Lines{});
  EXPECT_TRUE(view_.suspicious(now_));
}

TEST_F(MerlionViewTest, AfterAWipeTheServiceStaysWhereItListensUntilThatIsWrittenAgain) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  (void)build();
  config_.clear();
  backends_.clear();
  sync(false);
  put("/conf/site/upstream-service-etcd-prefix", "/up/");
  EXPECT_EQ(build().service->key.to_string(), "tcp://127.0.0.1:8080");
  EXPECT_EQ(view_.config()->freshness, 10s);
  put("/conf/site/listen-address", "127.0.0.1:9090");
  EXPECT_EQ(build().service->key.to_string(), "tcp://127.0.0.1:9090");
  del("/conf/site/listen-address");
  EXPECT_EQ(build().service->key.to_string(), "tcp://0.0.0.0:8080") << "a DELETE is evidence";
}

TEST_F(MerlionViewTest, AWipedAddressThatNobodyWritesAgainIsGoneAfterAMinute) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  config_.erase(config_.begin());
  sync(false);
  EXPECT_EQ(build().service->key.to_string(), "tcp://127.0.0.1:8080");
  EXPECT_LE(view_.next_look() - now_.steady, 60s);
  pass(60s);
  look();
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(build().service->key.to_string(), "tcp://0.0.0.0:8080");
}

TEST_F(MerlionViewTest, ATrustedRangeWithoutABackendIsBelieved) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  backends_.resize(2);
  sync();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/"}));
  EXPECT_FALSE(view_.suspicious(now_));
}

TEST_F(MerlionViewTest, WithoutValidConfigThereIsNoService) {
  config_.clear();
  view_.replace_config(config_, true, now_);
  EXPECT_EQ(view_.backend_range(), "");
  EXPECT_EQ(seen(), (Lines{"no service"}));
  EXPECT_NE(warnings().find("/conf/site/upstream-service-etcd-prefix: missing"), std::string::npos);
}

TEST_F(MerlionViewTest, AConfigThatTurnsBadKeepsTheLastGoodOne) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  const auto before = build().service;
  put("/conf/site/listen-address", "junk");
  EXPECT_EQ(build().service, before);
  EXPECT_NE(warnings().find("/conf/site/listen-address: 'junk'"), std::string::npos);
  del("/conf/site/upstream-service-etcd-prefix");
  view_.touch();
  EXPECT_EQ(build().service, before);
  put("/conf/site/upstream-service-etcd-prefix", "/up");
  put("/conf/site/listen-address", "127.0.0.1:9999");
  EXPECT_EQ(build().service->key.port, 9999);
  EXPECT_EQ(warnings(), "");
}

TEST_F(MerlionViewTest, ANewPrefixOfBackendsWaitsForItsRange) {
  add("a", "10.0.0.1:1", stamp());
  sync();
  const auto before = build().service;
  put("/conf/site/upstream-service-etcd-prefix", "/other");
  EXPECT_EQ(view_.backend_range(), "/other/");
  EXPECT_EQ(build().service, before);
  view_.replace_backends(
      {{"/other/x/listen-address", "10.0.0.5:1", 1, 0}, {"/other/x/last-seen-at", stamp(), 1, 0}},
      true, now_);
  EXPECT_EQ(seen(), (Lines{"x 10.0.0.5:1 active/"}));
}

TEST_F(MerlionViewTest, ResolvesNamesAndKeepsTheLastAddress) {
  add("a", "node1:80", stamp());
  sync();
  EXPECT_EQ(view_.names(), (std::set<std::string>{"node1"}));
  EXPECT_EQ(seen(), Lines{});
  EXPECT_EQ(build().absence, Absence::Guarded);  // it is there, we only do not know where
  EXPECT_NE(warnings().find("/up/a/listen-address: host name 'node1'"), std::string::npos);
  dns_["node1"] = {IpAddress::v4(0x0a000001), false, ""};
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:80 active/"}));
  EXPECT_EQ(build().service->backends[0].host, "node1");
  dns_.clear();
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:80 active/"}));
  EXPECT_NE(warnings().find("the last address stays"), std::string::npos);
}

TEST_F(MerlionViewTest, OfTwoBackendsWithOneAddressTheUsableOneIsTaken) {
  add("a", "10.0.0.1:1", stamp(1h));
  add("b", "10.0.0.1:1", stamp());
  sync();
  EXPECT_EQ(seen(), (Lines{"b 10.0.0.1:1 active/"}));
  EXPECT_NE(warnings().find("/up/a/listen-address: 10.0.0.1:1 is already the address of b"),
            std::string::npos);
}

TEST_F(MerlionViewTest, KeysOfOthersAreIgnored) {
  sync();
  (void)build();
  put("/upper/a/listen-address", "10.0.0.1:1");
  put("/elsewhere", "x");
  EXPECT_FALSE(view_.dirty());
}

// By the backend's host, and not by anything that the client has chosen.
ConnectFailure refused_at(std::string_view backend) {
  ConnectFailure out;
  out.kind = ConnectFailure::Kind::Refused;
  out.backend = *Address::parse(backend);
  out.error = ECONNREFUSED;
  out.plain = true;
  return out;
}

TEST_F(MerlionViewTest, AFailedConnectTakesItsBackendOut) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  (void)build();
  EXPECT_FALSE(view_.connect_failed(refused_at("10.0.0.2:1"), now_))
      << "nothing is left to find out";
  EXPECT_TRUE(view_.dirty());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 exited/connect-failed"}));
  EXPECT_EQ(view_.backends().at("b").exit()->reason,
            "Cannot connect to 10.0.0.2/10.0.0.2:1: Connection refused");
  EXPECT_FALSE(view_.connect_failed(refused_at("10.0.0.9:1"), now_)) << "nobody's";
  pass(1s);
  put("/up/b/last-seen-at", stamp());
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/"}));
}

// A user can make a connect of his time out, and a container's root can have it refused.
TEST_F(MerlionViewTest, AClientsOwnDoingTakesNothingOutBeforeLbdHasMetIt) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  sync();
  (void)build();
  ConnectFailure late = refused_at("10.0.0.2:1");
  late.error = ETIMEDOUT;
  ConnectFailure strange = refused_at("10.0.0.2:1");
  strange.plain = false;
  for (const ConnectFailure& failure : {late, strange}) {
    EXPECT_TRUE(view_.connect_failed(failure, now_)) << "lbd looks for itself";
    EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 active/"}));
  }
  late.confirmed = true;
  EXPECT_FALSE(view_.connect_failed(late, now_));
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 active/", "b 10.0.0.2:1 exited/connect-failed"}));
  EXPECT_FALSE(view_.connect_failed(strange, now_)) << "it is out already";
}

TEST_F(MerlionViewTest, OneFailedConnectDoesNotTakeTheLastUsableBackendOut) {
  add("a", "10.0.0.1:1", stamp());
  add("b", "10.0.0.2:1", stamp());
  add("c", "10.0.0.3:1", stamp());
  sync();
  const ServiceKey site = build().service->key;
  view_.set_unused({{site, *Address::parse("10.0.0.3:1")}}, now_);  // drained
  EXPECT_FALSE(view_.connect_failed(refused_at("10.0.0.1:1"), now_));
  EXPECT_TRUE(view_.connect_failed(refused_at("10.0.0.2:1"), now_)) << "a moment later";
  EXPECT_EQ(seen(), (Lines{"a 10.0.0.1:1 exited/connect-failed", "b 10.0.0.2:1 active/",
                           "c 10.0.0.3:1 active/"}));
  ConnectFailure own = refused_at("10.0.0.2:1");
  own.confirmed = true;
  EXPECT_FALSE(view_.connect_failed(own, now_));
  EXPECT_EQ(seen()[1], "b 10.0.0.2:1 exited/unreachable") << "the last resort, with the first";
}

}  // namespace
}  // namespace lb
