// States on their way to listeners.
#include <boost/asio/write.hpp>

#include "netns/relay/server_fixture.h"
#include "relay/replica.h"

namespace lb::relay {
namespace {

using ServerState = RelayTest;

TEST_F(ServerState, GreetsAndSendsNoStateBeforeThereIsOne) {
  ASSERT_TRUE(open());
  const auto one = listener("n1");
  const auto hello = hear_a<UpdaterHello>(*one);
  EXPECT_EQ(hello.protocol, kProtocol);
  EXPECT_EQ(hello.node, "updater-1");
  EXPECT_EQ(hello.at, server_->position());
  EXPECT_EQ(hello.at.sequence, 0u);
  const auto first = run(one->read_line(1000, 5s));
  EXPECT_EQ(first.value(), R"({"t":"ping"})");
  server_->publish({}, {});  // no service at all is a state
  EXPECT_EQ(hear_a<SnapshotMessage>(*one).at, (Position{hello.at.epoch, 1}));
}

TEST_F(ServerState, TellsOfEachChangeAndNotesHowFarAListenerIs) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto one = listener("n1");
  (void)hear_a<UpdaterHello>(*one);
  auto snapshot = hear_a<SnapshotMessage>(*one);
  server_->publish({web(2)}, {});
  const auto delta = hear_a<Delta>(*one);
  ASSERT_TRUE(relay::apply(delta, snapshot.services));
  EXPECT_EQ(*snapshot.services[0], *web(2));
  say(*one, Ack{snapshot.at});
  ASSERT_TRUE(until([&] { return server_->listeners()[0].applied == snapshot.at; }));
  EXPECT_EQ(server_->listeners()[0].behind, 1u);
  say(*one, Ack{delta.at});
  ASSERT_TRUE(until([&] { return server_->listeners()[0].applied == delta.at; }));
  const ListenerView view = server_->listeners()[0];
  EXPECT_EQ(view.behind, 0u);
  EXPECT_TRUE(view.lag && *view.lag < 10s);
  EXPECT_EQ(view.node, "n1");
  EXPECT_TRUE(view.connected && view.takes_state && !view.tls);
  EXPECT_TRUE(view.address.starts_with("127.0.0.1:"));
}

TEST_F(ServerState, SendsTheNewestStateOnlyToOneThatWasBusy) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto one = listener("n1");
  (void)hear_a<UpdaterHello>(*one);
  auto snapshot = hear_a<SnapshotMessage>(*one);
  for (int i = 2; i <= 51; ++i) server_->publish({web(i)}, {});
  const auto delta = hear_a<Delta>(*one);
  EXPECT_EQ(delta.base, 1u);
  EXPECT_EQ(delta.at.sequence, 51u);
}

TEST_F(ServerState, GoesOnWhereAListenerLeftOff) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const Position had = server_->position();
  server_->publish({web(2)}, {});
  const auto back = listener("n1", had);
  (void)hear_a<UpdaterHello>(*back);
  EXPECT_EQ(hear_a<Delta>(*back).base, had.sequence);
  // One that has it all is told nothing until there is news.
  const auto current = listener("n2", server_->position());
  (void)hear_a<UpdaterHello>(*current);
  server_->publish({web(3)}, {});
  EXPECT_EQ(hear_a<Delta>(*current).base, 2u);
}

TEST_F(ServerState, SendsASnapshotToOneOfAnotherEpoch) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto one = listener("n1", Position{"before the restart", 1});
  (void)hear_a<UpdaterHello>(*one);
  EXPECT_EQ(hear_a<SnapshotMessage>(*one).at, server_->position());
}

TEST_F(ServerState, SendsASnapshotOnRequest) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto one = listener("n1");
  (void)hear_a<UpdaterHello>(*one);
  (void)hear_a<SnapshotMessage>(*one);
  const auto before = steady_clock::now();
  say(*one, Resync{});
  EXPECT_EQ(hear_a<SnapshotMessage>(*one).at, server_->position());
  // At most once a second, and not a ping later.
  EXPECT_LT(steady_clock::now() - before, 4s);
}

TEST_F(ServerState, FeedsOnlyWhoeverWantsIt) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto control = listener("n1", {}, false);
  (void)hear_a<UpdaterHello>(*control);
  ASSERT_TRUE(until([&] { return connected() == 1; }));
  EXPECT_FALSE(server_->listeners()[0].takes_state);
  say(*control, Feed{true, {}});
  EXPECT_EQ(hear_a<SnapshotMessage>(*control).at.sequence, 1u);
  EXPECT_TRUE(server_->listeners()[0].takes_state);
  say(*control, Feed{false, {}});
  ASSERT_TRUE(until([&] { return !server_->listeners()[0].takes_state; }));
  server_->publish({web(2)}, {});
  say(*control, Feed{true, Position{server_->position().epoch, 1}});
  EXPECT_EQ(hear_a<Delta>(*control).base, 1u);
}

TEST_F(ServerState, SpeaksWithLaterVersionsAndIgnoresWhatItDoesNotKnow) {
  ASSERT_TRUE(open());
  server_->publish({web(1)}, {});
  const auto connection = dial().value();
  say_line(*connection,
           R"({"t":"hello","proto":7,"node":"n","version":"9","wants_state":true,"new":[]})"
           "\n"
           R"({"t":"telepathy"})"
           "\n");
  EXPECT_EQ(hear_a<UpdaterHello>(*connection).protocol, kProtocol);
  (void)hear_a<SnapshotMessage>(*connection);
  EXPECT_EQ(connected(), 1u);
}

TEST_F(ServerState, PingsWithWhatItsSourcesAreLike) {
  ASSERT_TRUE(open());
  server_->publish({}, {{"file", "", SysTime(1s), SysTime(1s), true}});
  const auto one = listener("n1", {}, false);
  (void)hear_a<UpdaterHello>(*one);
  EXPECT_EQ(run(one->read_line(1000, 5s)).value(),
            R"({"t":"ping","read_at":"1970-01-01T00:00:01.000Z"})");
  server_->mark({{"file", "", SysTime(1s), SysTime(2s), false}});
  say(*one, Ping{});
  EXPECT_EQ(run(one->read_line(1000, 10s)).value(),
            R"({"t":"ping","ok":false,"read_at":"1970-01-01T00:00:02.000Z"})");
}

TEST_F(ServerState, SaysGoodbyeWhenItStops) {
  ASSERT_TRUE(open());
  const auto one = listener("n1");
  (void)hear_a<UpdaterHello>(*one);
  const HostPort here = where();
  server_->stop();
  EXPECT_EQ(last_words(*one), "the updater stops");
  EXPECT_FALSE(run(Connection::dial(io_, here, {}, 5s)));
}

}  // namespace
}  // namespace lb::relay
