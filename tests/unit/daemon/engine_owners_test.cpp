// Backends with a uid, over a fake kernel and a table of sockets that the test writes.
#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/operator.h"
#include "engine_fixture.h"

namespace lb {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Uid kPostgres = 1001, kIntruder = 1005;

class EngineOwners : public EngineFixture {
 protected:
  void listen(std::string_view at, Uid uid) {
    const ServiceKey k = key(at);
    listeners_ = {{k.protocol, k.port, k.address, false, 7, uid}};
  }
  // What the app does every Owners::kInterval.
  void look() {
    steady_ += Owners::kInterval;
    engine_->set_listeners(listeners_, steady_);
    run();
  }
  void look_in_vain() {
    steady_ += Owners::kInterval;
    engine_->set_listeners(fail(EPERM, "look for listeners"), steady_);
    run();
  }
  static ServicePtr web(std::string_view backend = "127.0.0.1:9000", Uid uid = kPostgres) {
    Backend owned = listed(backend);
    owned.uid = uid;
    return offered("127.0.0.1:80", {owned});
  }
  std::uint32_t weight() const {
    const auto all = programmed("127.0.0.1:80");
    return all.empty() ? 0 : all[0].weight;
  }
};

TEST_F(EngineOwners, NothingIsWatchedWithoutAUid) {
  start();
  deliver({offered("127.0.0.1:80", {listed("127.0.0.1:9000")})});
  EXPECT_FALSE(engine_->owners().any());
}

TEST_F(EngineOwners, BackendIsInUseWhileItsUserHoldsThePort) {
  start();
  listen("127.0.0.1:9000", kPostgres);
  deliver({web()});
  EXPECT_TRUE(engine_->owners().any());
  EXPECT_GT(weight(), 0U) << "looked at within the plan";
  listeners_.clear();
  look();
  EXPECT_EQ(weight(), 0U) << "it may be anybody's the next moment";
  listen("127.0.0.1:9000", kIntruder);
  look();
  EXPECT_EQ(weight(), 0U);
  const DesiredBackend& shown =
      engine_->reconciler().desired().at(key("127.0.0.1:80"))->backends.at(0);
  EXPECT_EQ(shown.reason, Reason::Owner);
  EXPECT_EQ(shown.text, "port is held by uid 1005, wants uid 1001");
  listen("127.0.0.1:9000", kPostgres);
  look();
  EXPECT_GT(weight(), 0U);
}

TEST_F(EngineOwners, BackendInUseThatIsGivenAUidStaysInUse) {
  start();
  listen("127.0.0.1:9000", kPostgres);
  deliver({offered("127.0.0.1:80", {listed("127.0.0.1:9000")})});
  dataplane_.calls.clear();
  deliver({web()});
  EXPECT_THAT(dataplane_.calls, IsEmpty());
  EXPECT_GT(weight(), 0U);
  deliver({web("127.0.0.1:9000", kIntruder)});
  EXPECT_EQ(weight(), 0U);
}

TEST_F(EngineOwners, AfterARestartTheFirstPlanKnowsWhoHoldsThePort) {
  start();
  listen("127.0.0.1:9000", kPostgres);
  deliver({web()});
  ASSERT_GT(weight(), 0U);
  dataplane_.calls.clear();
  start();
  EXPECT_THAT(dataplane_.calls, IsEmpty()) << "nothing is new";
  listen("127.0.0.1:9000", kIntruder);
  start();
  EXPECT_EQ(weight(), 0U) << "before the source has said anything";
  listen("127.0.0.1:9000", kPostgres);
  start();
  EXPECT_GT(weight(), 0U);
}

TEST_F(EngineOwners, WhileLooksFailItStaysForTenSeconds) {
  start();
  listen("127.0.0.1:9000", kPostgres);
  deliver({web()});
  for (int i = 0; i < 40; ++i) look_in_vain();
  EXPECT_GT(weight(), 0U);
  EXPECT_THAT(engine_->problems(), Contains(HasSubstr("for 10 s they stay")));
  look_in_vain();
  EXPECT_EQ(weight(), 0U);
  EXPECT_THAT(engine_->problems(), Contains(HasSubstr("they get no new connections")));
  look();
  EXPECT_GT(weight(), 0U);
  EXPECT_THAT(engine_->problems(), IsEmpty());
}

TEST_F(EngineOwners, AddressThatIsNotTheHostsIsNamedUntilItIs) {
  start();
  listen("0.0.0.0:9000", kPostgres);
  deliver({web("10.0.0.7:9000")});
  EXPECT_EQ(weight(), 0U);
  EXPECT_THAT(engine_->warnings(),
              ElementsAre(HasSubstr("service web (tcp://127.0.0.1:80): backend 10.0.0.7:9000")));
  engine_->set_local_addresses({ip("127.0.0.1"), ip("::1"), ip("10.0.0.7")});
  run();
  EXPECT_GT(weight(), 0U);
  EXPECT_THAT(engine_->warnings(), IsEmpty());
}

TEST_F(EngineOwners, ExplainSaysWhy) {
  start();
  listen("127.0.0.1:9000", kIntruder);
  deliver({web()});
  const auto fleet = Fleet::open(
      folder_.path(), "node1", [] {}, problems_);
  Operator control(
      *engine_, *fleet, {.version = "1", .config = "x.toml", .started = wall_}, [] {},
      [this] { return Result<std::vector<Listener>>(listeners_); });
  const auto explained = control.explain(key("127.0.0.1:80"));
  ASSERT_TRUE(explained);
  EXPECT_FALSE(explained->backends.at(0).candidate);
  EXPECT_THAT(explained->backends.at(0).why,
              testing::EndsWith(": port is held by uid 1005, wants uid 1001"));
}

}  // namespace
}  // namespace lb
