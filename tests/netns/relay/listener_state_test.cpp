// Where a listener's state comes from while updaters come, go, and grow old.
#include "netns/relay/listener_fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

class ListenerState : public ListenerTest {
 protected:
  void start_all(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) start(i);
  }
  // Read at one moment: an updater whose source was read a millisecond earlier knows less.
  void publish_all(const Services& services) {
    const auto sources = marks();
    for (const auto& updater : updaters_)
      if (updater->server) updater->server->publish(services, sources);
  }
};

TEST_F(ListenerState, TakesTheStateThenItsChangesAndAcknowledgesThem) {
  start(0);
  publish(0, web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  EXPECT_EQ(snapshots_.back().absence, Absence::Guarded);
  const auto first = snapshots_.back();
  publish(0, web({"10.0.0.2:80"}));
  ASSERT_TRUE(sees({"10.0.0.2:80"}));
  EXPECT_EQ(snapshots_.size(), 2U);
  EXPECT_EQ(snapshots_.back().absence, Absence::Believed);
  EXPECT_EQ(snapshots_.back().services[1], first.services[1]);
  EXPECT_TRUE(reaches([&] { return view_at(0)->applied == server(0).position(); }));
  EXPECT_EQ(view_at(0)->behind, 0U);
  EXPECT_EQ(source_->status().position, fmt::format("127.0.0.1:{} of 1", updaters_[0]->at.port));
  EXPECT_TRUE(source_->status().connected);
  EXPECT_TRUE(source_->status().read_at);
  EXPECT_TRUE(errors_.empty());
}

TEST_F(ListenerState, AcknowledgesOnlyWhatWasApplied) {
  start(0);
  apply_ = false;
  publish(0, web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  run_for(200ms);
  EXPECT_FALSE(view_at(0)->applied);
  source_->applied();
  EXPECT_TRUE(reaches([&] { return view_at(0)->applied == server(0).position(); }));
}

TEST_F(ListenerState, KeepsAControlConnectionToTheOthers) {
  start_all(3);
  publish_all(web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(all_connected());
  ASSERT_TRUE(reaches([&] { return feeder().has_value(); }));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(view_at(i)->node, "host1");
    EXPECT_EQ(view_at(i)->takes_state, i == *feeder());
  }
}

TEST_F(ListenerState, FailsOverAtOnceWhenItsUpdaterIsKilled) {
  start_all(3);
  publish_all(web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(all_connected());
  for (int round = 2; round <= 3; ++round) {
    const std::size_t before = *feeder();
    kill(before);
    const Lines want{fmt::format("10.0.0.{}:80", round)};
    publish_all(web(want));
    const auto begin = steady_clock::now();
    ASSERT_TRUE(sees(want));
    EXPECT_LT(steady_clock::now() - begin, test::promised(2s));
    EXPECT_NE(*feeder(), before);
    EXPECT_EQ(snapshots_.back().absence, Absence::Guarded);
  }
  EXPECT_TRUE(errors_.empty()) << errors_[0];
}

TEST_F(ListenerState, FailingOverToTheSameStateTellsNothing) {
  start_all(2);
  publish_all(web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(all_connected());
  const std::size_t before = *feeder();
  kill(before);
  ASSERT_TRUE(reaches([&] { return feeder() == 1 - before; }));
  EXPECT_TRUE(
      reaches([&] { return view_at(1 - before)->applied == server(1 - before).position(); }));
  EXPECT_EQ(snapshots_.size(), 1U);
}

TEST_F(ListenerState, ARestartedUpdaterWithoutAStateTakesNothingAway) {
  start(0);
  publish(0, web({"10.0.0.1:80", "10.0.0.2:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80", "10.0.0.2:80"}));
  kill(0);
  start(0);  // waits for its sources
  ASSERT_TRUE(reaches([&] { return errors_.size() == 2; })) << errors_.size();
  EXPECT_NE(errors_[0].find("has closed the connection"), std::string::npos) << errors_[0];
  EXPECT_NE(errors_[1].find("has no state yet"), std::string::npos) << errors_[1];
  EXPECT_EQ(snapshots_.size(), 1U);
  EXPECT_FALSE(source_->status().connected);
  publish(0, web({"10.0.0.1:80"}));
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  EXPECT_EQ(snapshots_.back().absence, Absence::Guarded);
  EXPECT_EQ(source_->status().error, "");
}

TEST_F(ListenerState, AnUpdaterWithoutAStateDoesNotKeepOthersFromFeeding) {
  start_all(3);
  publish(2, web({"10.0.0.1:80"}));
  listen();
  const auto begin = steady_clock::now();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  EXPECT_LT(steady_clock::now() - begin,
            test::promised(2s));  // the others say in their hello that they have none
  EXPECT_EQ(feeder(), 2U);
}

TEST_F(ListenerState, HoldsAnOlderStateUntilTheNewerUpdaterHasBeenGoneLongEnough) {
  start_all(2);
  publish(0, web({"10.0.0.1:80", "10.0.0.2:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80", "10.0.0.2:80"}));
  ASSERT_TRUE(all_connected());
  publish(1, web({"10.0.0.9:80"}), 60s);
  const auto gone = steady_clock::now();
  kill(0);
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_EQ(errors_[0].rfind(fmt::format("holding: updater 127.0.0.1:{} has an older state",
                                         updaters_[1]->at.port),
                             0),
            0U)
      << errors_[0];
  EXPECT_EQ(source_->status().error, errors_[0]);
  ASSERT_TRUE(sees({"10.0.0.9:80"}));
  EXPECT_GE(steady_clock::now() - gone, confirm_);
  EXPECT_EQ(snapshots_.back().absence, Absence::Guarded);
  EXPECT_EQ(snapshots_.size(), 2U);
}

TEST_F(ListenerState, TakesAHeldStateAsSoonAsItHasBeenReadAgain) {
  confirm_ = 60s;
  start_all(2);
  publish(0, web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(all_connected());
  publish(1, web({"10.0.0.9:80"}), 60s);
  kill(0);
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  server(1).mark(marks());  // told by a ping
  ASSERT_TRUE(sees({"10.0.0.9:80"}));
}

TEST_F(ListenerState, ComparesWithWhatAnEarlierRunHasSaved) {
  start(0);
  publish(0, web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  const Snapshot saved = snapshots_.back();
  forget();
  kill(0);
  snapshots_.clear();
  start(0);
  publish(0, web({"10.0.0.9:80"}), 60s);
  const auto begin = steady_clock::now();
  listen({}, {}, saved);
  ASSERT_TRUE(sees({"10.0.0.9:80"}));
  EXPECT_GE(steady_clock::now() - begin, confirm_ - 100ms);
  EXPECT_EQ(snapshots_.back().absence, Absence::Guarded);
}

TEST_F(ListenerState, LeavesAnUpdaterWhoseSourcesFailForOneThatIsWell) {
  start_all(2);
  publish_all(web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(all_connected());
  const std::size_t before = *feeder();
  server(before).mark(marks(30s, false));
  ASSERT_TRUE(reaches([&] { return feeder() == 1 - before; }));
  EXPECT_TRUE(reaches([&] { return !source_->updaters()[before].ok; }));
  EXPECT_TRUE(source_->updaters()[1 - before].ok);
  EXPECT_TRUE(source_->updaters()[before].connected);
  EXPECT_TRUE(reaches([&] { return !view_at(before)->takes_state; }));
  EXPECT_TRUE(errors_.empty());
  // And not back at once.
  server(before).mark(marks());
  server(1 - before).mark(marks(20s, false));
  run_for(7s);
  EXPECT_EQ(feeder(), 1 - before);
}

TEST_F(ListenerState, RefusesLoopbackBackendsAndKeepsTheRest) {
  start(0);
  publish(0, web({"10.0.0.1:80", "127.0.0.5:9001"}));
  listen();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_EQ(snapshots_.back().warnings.size(), 1U);
  EXPECT_NE(snapshots_.back().warnings[0].find("service web (tcp://127.0.0.1:8080): backend "
                                               "127.0.0.5:9001"),
            std::string::npos)
      << snapshots_.back().warnings[0];
  EXPECT_TRUE(reaches([&] { return view_at(0)->applied == server(0).position(); }));
}

TEST_F(ListenerState, EndsCleanlyAtWhateverMoment) {
  start_all(2);
  publish_all(web({"10.0.0.1:80"}));
  FakeUpdater silent(io_, "");
  for (const auto after : {0ms, 1ms, 2ms, 5ms, 20ms, 120ms, 300ms}) {
    listen({silent.at(), HostPort{"127.0.0.1", 9}, HostPort{"192.0.2.1", 7676}});
    run_for(after);
    forget();
    run_for(after % 3);
  }
}

TEST_F(ListenerState, SleepsBetweenPings) {
  FakeUpdater updater(io_, hello_of("e"));
  updater.when_asked([](const relay::Feed&) {
    return relay::encode(relay::SnapshotMessage{{"e", 1}, marks(), web({"10.0.0.1:80"})});
  });
  listen({updater.at()});
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  ASSERT_TRUE(reaches([&] { return updater.count<relay::Ping>() == 1; }));
  run_for(100ms);
  io_.restart();
  EXPECT_EQ(io_.run_for(3s), 0U);
  EXPECT_TRUE(reaches([&] { return updater.count<relay::Ping>() == 2; }, 5s));
}

}  // namespace
}  // namespace lb::test
