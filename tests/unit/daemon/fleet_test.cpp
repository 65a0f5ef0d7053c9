// The fleet's drains at one lbd: what is applied, told and ended.
#include "daemon/fleet.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/limits.h"
#include "engine_fixture.h"
#include "support/run_awaitable.h"

namespace lb {
namespace {

class FleetTest : public EngineFixture {
 protected:
  FleetTest() {
    start();
    fleet_ = Fleet::open(
        folder_.path(), "node1", [this] { ++changes_; }, problems_);
    engine_->save_also(saved_orders(fleet_->orders()));
    deliver({offered("127.0.0.1:80", {task("10.0.0.1:9000", "t1"), task("10.0.0.2:9000", "t2")})});
  }
  static Backend task(std::string_view address, std::string_view id) {
    Backend b = listed(address);
    b.id = std::string(id);
    return b;
  }
  FleetOrder order(bool drain = true, int seconds = 0) const {
    return {.id = drain ? "f1" : "f2",
            .time = wall_ + std::chrono::seconds(seconds),
            .target = "10.0.0.2:9000",
            .service = "",
            .drain = drain,
            .ids = {"t2"}};
  }
  void hear(const FleetOrder& what) { EXPECT_TRUE(fleet_->orders().adopt(what).value()); }
  void turn() {
    (void)fleet_->before_turn(*engine_);
    run();
    (void)fleet_->after_turn(*engine_);
  }
  void serve() {
    ASSERT_TRUE(
        fleet_->serve(io_, {.listen = "127.0.0.1:0", .tls = {}, .require_tls = false}, "1"));
  }
  std::uint32_t weight(std::string_view address) const {
    for (const ProgrammedBackend& b : programmed("127.0.0.1:80"))
      if (b.address == addr(address)) return b.weight;
    return 0;
  }

  asio::io_context io_;
  std::unique_ptr<Fleet> fleet_;
  int changes_ = 0;
};

TEST_F(FleetTest, AppliesAnOrderAndTakesItBackForANewerOneOnly) {
  hear(order());
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U);
  EXPECT_GT(weight("10.0.0.1:9000"), 0U);
  EXPECT_FALSE(fleet_->orders().adopt(order(false, -1)).value()) << "older";
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U);
  hear(order(false, 1));
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
}

TEST_F(FleetTest, KeepsItsOrdersOverARestart) {
  hear(order());
  turn();
  start();
  fleet_ = Fleet::open(
      folder_.path(), "node1", [] {}, problems_);
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U);
}

TEST_F(FleetTest, ReportsWhatItDoesNotTakeAndWhy) {
  FleetOrder foreign = order();
  ASSERT_TRUE(OrderSigner::open(folder_.file("foreign.key"))
                  .value()
                  .sign(foreign, wall_ + limits::kOrderLife));
  EXPECT_EQ(fleet_->orders().hear({foreign}, wall_).refused, 1U);
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
  ASSERT_EQ(fleet_->problems().size(), 1U);
  EXPECT_NE(fleet_->problems()[0].find("the order of 10.0.0.2:9000 is signed with the key"),
            std::string::npos)
      << fleet_->problems()[0];
  ASSERT_TRUE(fleet_->trust(foreign.key, false));
  test::run_awaitable(fleet_->look(*engine_));
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U) << "heard again";
  EXPECT_TRUE(fleet_->problems().empty());
  ASSERT_TRUE(fleet_->trust(foreign.key, true));
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U) << "what was taken stays";
}

TEST_F(FleetTest, WithoutItsKeyAnUpdaterGivesNoOrderAndSaysSo) {
  std::filesystem::create_directory(folder_.file("order.key"));  // in the way
  serve();
  const auto given = fleet_->drain(*engine_, {"10.0.0.2:9000", ""});
  ASSERT_FALSE(given);
  EXPECT_NE(given.error().message().find("order.key"), std::string::npos)
      << given.error().message();
  ASSERT_EQ(fleet_->problems().size(), 1U);
  EXPECT_NE(fleet_->problems()[0].find("no drain of the fleet can be given here"),
            std::string::npos);
  // The disk is well again.
  std::filesystem::remove(folder_.file("order.key"));
  test::run_awaitable(fleet_->look(*engine_));
  EXPECT_TRUE(fleet_->problems().empty());
  ASSERT_TRUE(fleet_->drain(*engine_, {"10.0.0.2:9000", ""}));
  EXPECT_TRUE(check_signature(fleet_->orders().all().at(0).order));
}

// What another updater is said to have ordered is no reason to give nothing.
TEST_F(FleetTest, GivesAnOrderOfItsOwnWhereItKnowsOneOfAnUnknownKeyOnly) {
  fleet_->set_applies(false);
  serve();
  const OrderSigner other = OrderSigner::open(folder_.file("other.key")).value();
  FleetOrder foreign = order();
  ASSERT_TRUE(other.sign(foreign, wall_ + limits::kOrderLife));
  ASSERT_TRUE(fleet_->orders().hear({foreign}, wall_).changed);
  ASSERT_TRUE(fleet_->drain(*engine_, {"10.0.0.2:9000", ""}));
  const FleetOrder& own = fleet_->orders().all().at(0).order;
  EXPECT_EQ(own.key, fleet_->orders().keys().own());
  EXPECT_TRUE(check_signature(own));
  FleetOrder undrain = order(false, 1);
  ASSERT_TRUE(other.sign(undrain, wall_ + limits::kOrderLife));
  ASSERT_TRUE(fleet_->orders().hear({undrain}, wall_).changed);
  EXPECT_TRUE(fleet_->undrain(*engine_, {"10.0.0.2:9000", ""})) << "it may be a forged one";
  EXPECT_EQ(fleet_->orders().all().at(0).order.key, fleet_->orders().keys().own());
}

TEST_F(FleetTest, AnUpdaterAloneAppliesNothing) {
  fleet_->set_applies(false);
  hear(order());
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
}

TEST_F(FleetTest, AnOrderEndsWithItsBackend) {
  hear(order());
  turn();
  deliver({offered("127.0.0.1:80", {task("10.0.0.1:9000", "t1"), task("10.0.0.2:9000", "t3")})});
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U) << "a new task on the same address is another one";
  EXPECT_FALSE(fleet_->orders().all().at(0).ended) << "the task may come back";
  after(Drains::kRest);
  turn();
  EXPECT_TRUE(fleet_->orders().all().at(0).ended);
}

TEST_F(FleetTest, OfWhatHasGonePastTheSettlingNothingIsClaimed) {
  serve();
  dataplane_.slow_to_settle = true;
  hear(order());
  turn();
  const auto progress = [&] { return fleet_->progress(*engine_, {"10.0.0.2:9000", ""}).value(); };
  ASSERT_EQ(progress().listeners.size(), 1U) << "this lbd balances, too";
  EXPECT_FALSE(progress().listeners[0].programmed);
  dataplane_.unsettled.front()(fail(EIO, "membarrier"));
  EXPECT_FALSE(progress().listeners[0].programmed);
  test::run_awaitable(fleet_->look(*engine_));
  ASSERT_EQ(dataplane_.unsettled.size(), 2U) << "it is tried again";
  dataplane_.unsettled.back()({});
  EXPECT_TRUE(progress().listeners[0].programmed);
}

TEST_F(FleetTest, CountsTheConnectionsThatAreLeft) {
  serve();
  dataplane_.active[{key("127.0.0.1:80"), addr("10.0.0.2:9000")}] = 5;
  hear(order());
  turn();
  const auto progress = fleet_->progress(*engine_, {"10.0.0.2:9000", ""}).value();
  EXPECT_EQ(progress.connections, 5U);
  EXPECT_FALSE(progress.drained);
  test::run_awaitable(fleet_->look(*engine_));
  EXPECT_LT(fleet_->pace(), std::chrono::seconds(1)) << "somebody may be waiting";
}

TEST_F(FleetTest, DrainsWhatIsKnownAndNamesWhatIsNot) {
  EXPECT_EQ(fleet_->drain(*engine_, {"10.0.0.2:9000", ""}).error().code, std::errc::not_supported);
  serve();
  EXPECT_EQ(fleet_->drain(*engine_, {"10.9.9.9:1", ""}).error().code,
            std::errc::no_such_file_or_directory);
  EXPECT_EQ(fleet_->drain(*engine_, {"", ""}).error().code, std::errc::invalid_argument);
  EXPECT_EQ(fleet_->undrain(*engine_, {"10.0.0.2:9000", ""}).error().code,
            std::errc::no_such_file_or_directory);
  const auto given = fleet_->drain(*engine_, {"10.0.0.2:9000", ""});
  ASSERT_TRUE(given) << given.error().message();
  EXPECT_EQ(given->order.ids, std::vector<std::string>{"t2"});
  EXPECT_EQ(fleet_->drain(*engine_, {"10.0.0.2:9000", ""})->order.id, given->order.id)
      << "repeating it is the same order";
  EXPECT_TRUE(fleet_->undrain(*engine_, {"10.0.0.2:9000", ""}));
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
}

TEST_F(FleetTest, ALaterOrderIsNewerWhateverTheClockSays) {
  serve();
  FleetOrder ahead = order();
  ahead.time = wall_ + std::chrono::hours(1);  // of an updater whose clock is fast
  hear(ahead);
  turn();
  ASSERT_TRUE(fleet_->undrain(*engine_, {"10.0.0.2:9000", ""}));
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
}

TEST_F(FleetTest, ServesNothingBeforeEverySourceHasSpoken) {
  start({"files", "etcd"});
  serve();
  deliver({offered("127.0.0.1:80", {listed("10.0.0.1:9000")})});
  turn();
  EXPECT_TRUE(fleet_->listeners().value().empty());
  EXPECT_EQ(fleet_->server_position().sequence, 0U);
  deliver({}, 1);
  turn();
  EXPECT_EQ(fleet_->server_position().sequence, 1U);
}

TEST_F(FleetTest, NamesOrdersOfItsFileThatAreOverTheLimits) {
  const auto saved = [](const std::string& id, const std::string& target) {
    return R"({"id":")" + id + R"(","time":"2026-01-01T00:00:00.000Z","target":")" + target +
           R"(","drain":true})";
  };
  folder_.write("fleet.json", R"({"version":1,"orders":[)" + saved("good", "10.0.0.2:9000") + "," +
                                  saved("huge", std::string(2'000'000, 'x')) + "]}");
  SavedProblems problems;
  start();
  fleet_ = Fleet::open(
      folder_.path(), "node1", [] {}, problems);
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U) << "the good one holds";
  ASSERT_EQ(problems.all().size(), 1U);
  EXPECT_NE(problems.all()[0].find("1 order of the fleet was left out"), std::string::npos);
  EXPECT_NE(problems.all()[0].find("huge"), std::string::npos);
}

// Saved before there was a limit for its time.
TEST_F(FleetTest, UndrainsWhatIsDatedInTheYear9999) {
  folder_.write("fleet.json",
                R"({"version":1,"orders":[{"id":"zz","time":"9999-12-31T23:59:59.999Z",)"
                R"("target":"10.0.0.2:9000","drain":true}]})");
  start();
  fleet_ = Fleet::open(
      folder_.path(), "node1", [] {}, problems_);
  serve();
  turn();
  EXPECT_EQ(weight("10.0.0.2:9000"), 0U);
  ASSERT_TRUE(fleet_->undrain(*engine_, {"10.0.0.2:9000", ""}));
  turn();
  EXPECT_GT(weight("10.0.0.2:9000"), 0U);
  ASSERT_TRUE(fleet_->orders().unsaved()());
  EXPECT_FALSE(FleetOrders::open(folder_.path() + "/fleet.json").value().all().at(0).order.drain);
}

TEST_F(FleetTest, RefusesAnOrderThatListenersWouldNotTake) {
  serve();
  const std::string name(limits::kText + 1, 's');
  auto service = std::make_shared<Service>(*offered("127.0.0.1:81", {task("10.0.0.3:9000", "t")}));
  service->name = name;
  deliver({service});
  turn();
  const auto refused = fleet_->drain(*engine_, {"10.0.0.3:9000", name});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, std::errc::argument_list_too_long);
  EXPECT_TRUE(fleet_->orders().all().empty());
}

}  // namespace
}  // namespace lb
