// The whole daemon on one loop, with a fake dataplane, fake sources and clocks that stand still.
#include "unit/daemon/app_fixture.h"

#include <filesystem>

namespace lb {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(AppTest, SourceDeliversAndTheDataplaneIsProgrammed) {
  start();
  sources_["files"]->deliver(web());
  poll();
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
}

TEST_F(AppTest, SourceErrorKeepsWhatIsThere) {
  start();
  sources_["files"]->deliver(web());
  poll();
  sources_["files"]->deliver(fail("gone"));
  poll();
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_EQ(app_->control().sources()->front().state, "failing");
}

TEST_F(AppTest, RestartMakesNoWrites) {
  start();
  sources_["files"]->deliver(web());
  poll();
  const std::size_t before = kernel_.writes;
  kill();
  start();
  sources_["files"]->deliver(web());
  poll();
  EXPECT_EQ(kernel_.writes, before);
}

TEST_F(AppTest, SavedSnapshotIsProgrammedBeforeTheApiServes) {
  start();
  sources_["files"]->deliver(web());
  poll();
  kill();
  kernel_.tamper(key("127.0.0.1:80"));
  ASSERT_TRUE(open());
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
}

TEST_F(AppTest, SecondOnTheSameFoldersIsRefusedWithPidAndFlag) {
  start();
  const auto second = open();
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string(::getpid())));
  EXPECT_THAT(second.error().message(), HasSubstr("--state-dir"));
  EXPECT_THAT(second.error().message(), Not(HasSubstr("unavailable")));
}

TEST_F(AppTest, RejectedReloadLeavesTheOldConfiguration) {
  start();
  EXPECT_TRUE(app_->reload());
  poll();
  EXPECT_EQ(app_->engine().slots().size(), 1U);
  reloaded_ = fail(EBUSY, "it is being written");
  EXPECT_FALSE(app_->reload());
}

TEST_F(AppTest, ReloadStopsRemovedSourcesAndStartsNewOnes) {
  start();
  sources_["files"]->deliver(web());
  poll();
  reloaded_ = config_;
  reloaded_->sources[0].name = "other";
  app_->reload();
  poll();
  EXPECT_EQ(HandSource::cancelled, 1);
  ASSERT_EQ(app_->engine().slots().size(), 1U);
  sources_["other"]->deliver(web());
  poll();
  EXPECT_EQ(app_->control().sources()->front().name, "other");
  EXPECT_EQ(kernel_.service(key("127.0.0.1:80"))->backends.front().weight, 1U);
}

TEST_F(AppTest, ReloadKeepsSourcesThatDidNotChangeRunning) {
  start();
  HandSource* before = sources_["files"];
  reloaded_ = config_;
  reloaded_->drain.timeout = std::chrono::seconds(5);
  app_->reload();
  poll();
  EXPECT_EQ(HandSource::cancelled, 0);
  before->deliver(web());
  poll();
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
}

// What a source owned stays until its successor has delivered, whatever its name is made of.
class Successor : public AppTest {
 protected:
  Successor() {
    config_.sources = {marathon("http://m1:8080")};
    start();
    sources_["marathon:http://m1:8080"]->deliver(web());
    poll();
    EXPECT_TRUE(serves());
  }
  static SourceConfig marathon(const std::string& endpoint) {
    MarathonSourceConfig settings;
    settings.access.endpoints = {endpoint};
    SourceConfig out{.name = {}, .ports = {}, .settings = settings};
    out.name = default_source_name(out);
    return out;
  }
  static SourceConfig files(const std::string& name) {
    return {.name = name, .ports = {}, .settings = FileSourceConfig{"/" + name}};
  }
  bool serves() const {
    const ProgrammedService* s = kernel_.service(key("127.0.0.1:80"));
    return s && s->backends.size() == 1 && s->backends[0].weight > 0 && !s->addresses.empty();
  }
  void reload(std::vector<SourceConfig> sources) {
    reloaded_ = config_;
    reloaded_->sources = std::move(sources);
    app_->reload();
    poll();
  }
  // The machine, and not just lbd: only what is saved is known.
  void reboot(std::vector<SourceConfig> sources) {
    ASSERT_TRUE(app_->finish([](const Config&) { return Result<>(); }));
    kill();
    kernel_.tamper(key("127.0.0.1:80"));
    config_.sources = std::move(sources);
    start();
  }
  SourceView shown(std::size_t i = 0) { return app_->control().sources()->at(i); }
};

TEST_F(Successor, OfAnotherFirstEndpointHasWhatTheFormerHad) {
  reload({marathon("http://m2:8080")});
  EXPECT_TRUE(serves());
  EXPECT_EQ(shown().name, "marathon:http://m2:8080");
  EXPECT_EQ(shown().backends, 1U);
  sources_["marathon:http://m2:8080"]->deliver(fail("refused"));
  poll();
  EXPECT_TRUE(serves());
  sources_["marathon:http://m2:8080"]->deliver(
      snapshot({offered("127.0.0.1:81", {listed("10.0.0.9:9000")})}));
  poll();
  EXPECT_FALSE(serves());
  EXPECT_NE(kernel_.service(key("127.0.0.1:81")), nullptr);
}

TEST_F(Successor, IsFoundByARestartToo) {
  reboot({marathon("http://m2:8080")});
  EXPECT_TRUE(serves());
  ASSERT_TRUE(app_->finish([](const Config&) { return Result<>(); }));
  EXPECT_FALSE(folder_.has("state/sources/marathon%3Ahttp%3A%2F%2Fm1%3A8080.json"));
  EXPECT_TRUE(folder_.has("state/sources/marathon%3Ahttp%3A%2F%2Fm2%3A8080.json"));
}

TEST_F(Successor, OfAnotherTypeIsWaitedFor) {
  reload({files("new")});
  EXPECT_TRUE(serves());
  ASSERT_EQ(app_->control().sources()->size(), 2U);
  EXPECT_EQ(shown(1).state, "former");
  EXPECT_THAT(shown(1).warnings.at(0), HasSubstr("until new has delivered"));
  sources_["new"]->deliver(fail("no such file"));
  poll();
  EXPECT_TRUE(serves());
  reboot({files("new")});
  EXPECT_TRUE(serves());
  sources_["new"]->deliver(snapshot({}));
  poll();
  EXPECT_FALSE(serves());
  EXPECT_EQ(app_->control().sources()->size(), 1U);
  ASSERT_TRUE(app_->finish([](const Config&) { return Result<>(); }));
  EXPECT_FALSE(folder_.has("state/sources/marathon%3Ahttp%3A%2F%2Fm1%3A8080.json"));
}

TEST_F(Successor, OfAnotherTypeComesBeforeTheFormerWasSaved) {
  sources_["marathon:http://m1:8080"]->deliver(
      snapshot({offered("127.0.0.1:81", {listed("10.0.0.9:9000")})}));
  poll();  // the save before this one was at the same moment: the next is not due
  reload({files("new")});
  reboot({files("new")});
  EXPECT_NE(kernel_.service(key("127.0.0.1:81")), nullptr);
}

TEST_F(Successor, MayBeTheFormerItself) {
  reload({files("new")});
  reload({marathon("http://m1:8080")});
  EXPECT_TRUE(serves());
  EXPECT_EQ(app_->control().sources()->size(), 1U);
}

TEST_F(Successor, IsNotWaitedForLongerThanTheOperatorLikes) {
  reload({files("new")});
  const auto accepted = test::run_awaitable(app_->control().accept("marathon:http://m1:8080"));
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->removed, 1U);
  EXPECT_FALSE(serves());
}

TEST_F(Successor, IsNoneWhenASourceIsOnlyTakenAway) {
  reload({marathon("http://m1:8080"), files("more")});
  sources_["more"]->deliver(snapshot({}));
  poll();
  reload({files("more")});
  EXPECT_FALSE(serves());
}

TEST_F(Successor, StaysTheOwnerThoughANewFirstSourceIsStillSilent) {
  reload({files("first"), marathon("http://m2:8080")});
  EXPECT_TRUE(serves());
}

// A fleet's order is in force before the first plan, which would give its backend connections.
TEST_F(AppTest, WhatTheFleetDrainsStaysDrainedOverARestart) {
  config_.dataplane.mode = DataplaneMode::Ebpf;  // in name: orders hold for connections of its own
  start();
  Snapshot two =
      snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000")})});
  sources_["files"]->deliver(two);
  poll();
  ASSERT_TRUE(app_->finish([](const Config&) { return Result<>(); }));
  kill();
  {
    FleetOrders orders = FleetOrders::open(folder_.file("state/fleet.json")).value();
    ASSERT_TRUE(orders.adopt(FleetOrder{.id = "o1",
                                        .time = sys_now(),
                                        .target = "10.0.0.1:9000",
                                        .service = "",
                                        .drain = true,
                                        .ids = {"10.0.0.1:9000"}}));
    const auto save = orders.unsaved();
    ASSERT_TRUE(save && save());
  }
  const auto opened = open();
  ASSERT_TRUE(opened);
  EXPECT_EQ(kernel_.service(key("127.0.0.1:80"))->backends.at(0).weight, 0U);
}

TEST_F(AppTest, AStateFolderThatCannotBeUsedIsAProblemAndNoMore) {
  folder_.write("state", "a file, so that no folder can be made");
  start();
  sources_["files"]->deliver(web());
  poll();
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_THAT(problems(), HasSubstr("nothing is saved"));
  ASSERT_TRUE(app_->finish([](const Config&) { return Result<>(); }));
  EXPECT_THAT(problems(), HasSubstr("is not saved"));
}

TEST_F(AppTest, WhatACrashLeftHalfWrittenIsSwept) {
  std::filesystem::create_directories(folder_.file("state/sources"));
  for (const char* file : {"state/drains.json.new.123", "state/sources/files.json.new.7",
                           "state/notes.new.txt", "state/x.new."})
    folder_.write(file, "{");
  start();
  EXPECT_FALSE(folder_.has("state/drains.json.new.123"));
  EXPECT_FALSE(folder_.has("state/sources/files.json.new.7"));
  EXPECT_TRUE(folder_.has("state/notes.new.txt"));
  EXPECT_TRUE(folder_.has("state/x.new."));
}

TEST_F(AppTest, ABrokenSavedFileIsAProblemUntilItIsRemoved) {
  std::filesystem::create_directories(folder_.file("state/sources"));
  for (const char* file : {"drains.json", "departures.json", "health.json", "fleet.json",
                           "sources.json", "sources/files.json"})
    folder_.write(std::string("state/") + file, "");
  start();
  EXPECT_EQ(state_problems(), 6);
  std::filesystem::remove(folder_.file("state/drains.json.broken"));
  EXPECT_EQ(state_problems(), 5);
}

TEST_F(AppTest, ALossThatFilesOrderIsHeldWhereThatIsWanted) {
  config_.guard.files = true;
  start();
  sources_["files"]->deliver(
      snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9000"), listed("10.0.0.2:9000"),
                                         listed("10.0.0.3:9000")})}));
  poll();
  sources_["files"]->deliver(snapshot({}));
  poll();
  ASSERT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
  EXPECT_FALSE(kernel_.service(key("127.0.0.1:80"))->addresses.empty());
  EXPECT_EQ(test::run_awaitable(app_->control().status())->held.size(), 1U);
  reloaded_ = config_;
  reloaded_->guard.confirm = std::chrono::seconds(20);
  app_->reload();
  poll();
  EXPECT_EQ(test::run_awaitable(app_->control().status())->held.size(), 1U)
      << "a reload decides nothing";
  ASSERT_TRUE(test::run_awaitable(app_->control().accept("files")));
  const ProgrammedService* left = kernel_.service(key("127.0.0.1:80"));
  EXPECT_TRUE(!left || left->addresses.empty());
}

TEST_F(AppTest, StopLeavesTheDataplaneInPlace) {
  start();
  sources_["files"]->deliver(web());
  poll();
  app_->stop();
  poll();
  EXPECT_TRUE(app_->finish([](const Config&) { return Result<>(fail("called")); }));
  EXPECT_NE(kernel_.service(key("127.0.0.1:80")), nullptr);
}

TEST_F(AppTest, DetachesOnExitWhenToldTo) {
  config_.dataplane.detach_on_exit = true;
  start();
  bool detached = false;
  EXPECT_TRUE(app_->finish([&](const Config&) {
    detached = true;
    return Result<>();
  }));
  EXPECT_TRUE(detached);
}

}  // namespace
}  // namespace lb
