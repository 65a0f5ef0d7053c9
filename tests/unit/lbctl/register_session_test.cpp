#include "tools/lbctl/register_session.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace lb::lbctl {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

const Result<> kAccepts;
Result<> refuses() { return fail(ECONNREFUSED, "connect to h:1"); }

// Plays the world: time goes on as it says.
class SessionTest : public testing::Test {
 protected:
  SessionConfig config{.name = "n1",
                       .address = "h:1",
                       .prefix = "/svc",
                       .has_command = true,
                       .wait_ready = true,
                       .check = true};
  std::optional<Session> session;
  Session::TimePoint now{1h};

  Session::Wants step() {
    if (!session) session.emplace(config, now);
    Session::Wants wants = session->step(now);
    for (Notice& notice : session->take_notices()) {
      words += notice.words + "\n";
      events.push_back(std::move(notice.event));
    }
    return wants;
  }
  Session::Wants after(milliseconds time) {
    now += time;
    return step();
  }
  Session::Wants accept(const Result<>& accepts = kAccepts) {
    session->probed(accepts, now);
    return step();
  }
  Session::Wants wrote(Goal goal, const std::string& other = {}) {
    session->wrote({goal, {}, "http://a (v3)", other, 0ms}, now);
    return step();
  }
  Session::Wants failed(Goal goal, int err = ECONNREFUSED, milliseconds pause = 100ms) {
    session->wrote({goal, fail(err, "http://a"), "", "", pause}, now);
    return step();
  }
  Session::Wants counted(std::uint64_t connections, bool settled = true) {
    session->counted(Left{connections, settled, ""}, 250ms, now);
    return step();
  }
  Session::Wants signal() {
    session->signalled("SIGTERM", now);
    return step();
  }
  Session::Wants ended(int code) {
    session->command_ended(code, now);
    return step();
  }
  // Up to the state in question, on the shortest way.
  void serve() {
    ASSERT_TRUE(step().probe);
    ASSERT_EQ(accept().write, Goal::Announced);
    ASSERT_FALSE(wrote(Goal::Announced).write);
    ASSERT_EQ(take_events(), std::vector<std::string>{"registered"});
  }
  void drain() {
    serve();
    ASSERT_EQ(signal().write, Goal::Disabled);
    ASSERT_TRUE(wrote(Goal::Disabled).count);
    ASSERT_EQ(take_events(), (std::vector<std::string>{"stopping", "disabled"}));
  }
  std::vector<std::string> take_events() { return std::exchange(events, {}); }

  std::vector<std::string> events;
  std::string words;
};

using Events = std::vector<std::string>;

TEST_F(SessionTest, RegistersOnceSomethingAccepts) {
  EXPECT_TRUE(step().probe);
  EXPECT_TRUE(step().probe) << "wanted until it has happened";
  const auto waits = accept(refuses());
  EXPECT_FALSE(waits.probe);
  EXPECT_FALSE(waits.write);
  EXPECT_EQ(waits.wake, now + 100ms);
  EXPECT_TRUE(after(100ms).probe);
  EXPECT_EQ(accept().write, Goal::Announced);
  EXPECT_EQ(wrote(Goal::Announced).wake, now + 10s);
  EXPECT_EQ(take_events(), Events{"registered"});
}

TEST_F(SessionTest, RegistersAtOnceWhenToldTo) {
  config.wait_ready = false;
  config.check = false;
  EXPECT_EQ(step().write, Goal::Announced);
}

TEST_F(SessionTest, NothingReadyInTimeStopsTheCommandAndFails) {
  step();
  accept(refuses());
  const auto wants = after(60s);
  EXPECT_TRUE(wants.stop_command);
  EXPECT_FALSE(wants.exit);
  EXPECT_FALSE(step().stop_command) << "once";
  EXPECT_EQ(ended(143).exit, 1);
  EXPECT_EQ(take_events(), (Events{"not-ready", "command-ended"}));
}

TEST_F(SessionTest, ACommandThatEndsBeforeItIsReadyFailsWithItsStatus) {
  step();
  EXPECT_EQ(ended(0).exit, 1);
  EXPECT_NE(words.find("status 0 before anything accepted at h:1"), std::string::npos) << words;
}

TEST_F(SessionTest, ASignalBeforeItIsReadyStopsAtOnce) {
  step();
  EXPECT_TRUE(signal().stop_command);
  EXPECT_EQ(ended(143).exit, 143) << "no keys were written, none are removed";
}

TEST_F(SessionTest, RefreshesAfterEachInterval) {
  serve();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(after(9999ms).probe);
    const auto due = after(1ms);
    EXPECT_TRUE(due.probe);
    EXPECT_FALSE(due.write) << "not before it has been seen to accept";
    EXPECT_EQ(accept().write, Goal::Seen);
    EXPECT_FALSE(wrote(Goal::Seen).write);
  }
  EXPECT_EQ(take_events(), Events{});
}

TEST_F(SessionTest, RefreshesWithoutLookingWhenToldTo) {
  config.check = false;
  serve();
  EXPECT_EQ(after(10s).write, Goal::Seen);
}

TEST_F(SessionTest, WhatAcceptsNoMoreIsNotRefreshedUntilItDoes) {
  serve();
  EXPECT_TRUE(after(10s).probe);
  EXPECT_FALSE(accept(refuses()).write);
  EXPECT_TRUE(after(1s).probe);
  EXPECT_FALSE(accept(refuses()).write);
  EXPECT_EQ(take_events(), Events{"not-accepting"}) << "once";
  EXPECT_TRUE(after(1s).probe);
  EXPECT_EQ(accept().write, Goal::Seen);
  EXPECT_EQ(take_events(), Events{"accepting"});
  EXPECT_EQ(wrote(Goal::Seen).wake, now + 1s) << "a second one that is surely later";
  EXPECT_TRUE(after(1s).probe);
  EXPECT_EQ(accept().write, Goal::Seen);
  EXPECT_EQ(wrote(Goal::Seen).wake, now + 10s);
}

TEST_F(SessionTest, AnEtcdThatIsAwayIsTriedForEverAndSpokenOfOnce) {
  serve();
  after(10s);
  accept();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(failed(Goal::Seen).wake, now + 100ms);
    EXPECT_TRUE(after(100ms).probe);
    const auto wants = accept();
    EXPECT_EQ(wants.write, Goal::Seen);
    EXPECT_FALSE(wants.stop_command || wants.exit);
  }
  EXPECT_EQ(take_events(), Events{"etcd-failing"});
  failed(Goal::Seen, EACCES);
  EXPECT_EQ(take_events(), Events{"etcd-failing"}) << "another reason";
  wrote(Goal::Seen);
  EXPECT_EQ(take_events(), Events{"etcd-answers"});
}

TEST_F(SessionTest, AnEtcdThatIsAwayAtTheStartDelaysTheRegistration) {
  step();
  accept();
  failed(Goal::Announced);
  after(100ms);
  EXPECT_EQ(accept().write, Goal::Announced);
  wrote(Goal::Announced);
  EXPECT_EQ(take_events(), (Events{"etcd-failing", "etcd-answers", "registered"}));
}

TEST_F(SessionTest, ANameThatWasTakenIsSpokenOfOnce) {
  config.check = false;
  serve();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(after(10s).write, Goal::Seen);
    wrote(Goal::Seen, "h:2");
  }
  EXPECT_EQ(take_events(), Events{"taken-over"});
  EXPECT_EQ(ended(0).write, Goal::Gone);
  EXPECT_EQ(wrote(Goal::Gone, "h:2").exit, 0);
  EXPECT_EQ(take_events(), Events{"command-ended"});
}

TEST_F(SessionTest, DrainsBeforeItStopsTheCommand) {
  drain();
  EXPECT_FALSE(counted(2).count);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(after(250ms).count);
    EXPECT_FALSE(counted(1).stop_command);
  }
  after(250ms);
  EXPECT_FALSE(counted(0).stop_command);
  after(999ms);
  EXPECT_FALSE(counted(0).stop_command) << "quiet for a second";
  after(250ms);
  EXPECT_TRUE(counted(0).stop_command);
  EXPECT_FALSE(after(1h).exit) << "however long it takes";
  EXPECT_EQ(ended(143).write, Goal::Gone);
  EXPECT_EQ(wrote(Goal::Gone).exit, 143);
  EXPECT_EQ(take_events(), (Events{"draining", "draining", "draining", "drained", "command-ended",
                                   "unregistered"}));
}

TEST_F(SessionTest, EveryLbdGetsTwoSecondsToHearOfIt) {
  drain();
  counted(0);
  after(1900ms);
  EXPECT_FALSE(counted(0).stop_command);
  after(250ms);
  EXPECT_TRUE(counted(0).stop_command);
}

TEST_F(SessionTest, AConnectionInBetweenStartsTheSecondAnew) {
  drain();
  counted(0);
  after(1900ms);
  counted(1);
  after(250ms);
  EXPECT_FALSE(counted(0).stop_command);
  after(999ms);
  EXPECT_FALSE(counted(0).stop_command);
  after(250ms);
  EXPECT_TRUE(counted(0).stop_command);
}

TEST_F(SessionTest, WaitsForEveryLbdThatPublishes) {
  drain();
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(counted(0, false).stop_command);
    after(250ms);
  }
  EXPECT_NE(words.find("not every lbd knows yet"), std::string::npos) << words;
  counted(0);
  after(1s);
  EXPECT_TRUE(counted(0).stop_command);
}

TEST_F(SessionTest, GoesOnAtTheDrainTimeoutAndSaysWhatIsLeft) {
  drain();
  counted(3);
  EXPECT_FALSE(after(59s).stop_command);
  EXPECT_TRUE(after(1s).stop_command);
  EXPECT_NE(words.find("going on after 1m: 3 connections left"), std::string::npos) << words;
}

TEST_F(SessionTest, WhatCannotBeCountedIsWaitedForAndSaysWhy) {
  drain();
  for (int i = 0; i < 100; ++i) {
    session->counted(Left{0, true, "h:1 is elsewhere"}, 250ms, now);
    EXPECT_FALSE(after(250ms).stop_command);
  }
  EXPECT_EQ(take_events(), Events{"draining"});
  EXPECT_NE(words.find("h:1 is elsewhere"), std::string::npos) << words;
  EXPECT_TRUE(after(35s).stop_command);
}

TEST_F(SessionTest, AFailedCountIsNoZero) {
  drain();
  counted(0);
  after(2s);
  session->counted(fail(EIO, "read /proc/net/tcp"), 250ms, now);
  EXPECT_FALSE(step().stop_command);
  after(250ms);
  EXPECT_FALSE(counted(0).stop_command);
  after(1s);
  EXPECT_TRUE(counted(0).stop_command);
}

TEST_F(SessionTest, ASecondSignalSkipsTheWaitAndAThirdIsForwarded) {
  drain();
  counted(3);
  EXPECT_TRUE(signal().stop_command);
  EXPECT_FALSE(step().stop_command);
  EXPECT_TRUE(signal().stop_command);
  EXPECT_EQ(ended(143).write, Goal::Gone);
}

TEST_F(SessionTest, DisablingIsTriedUntilTheDrainTimeout) {
  serve();
  EXPECT_EQ(signal().write, Goal::Disabled);
  EXPECT_EQ(failed(Goal::Disabled).wake, now + 100ms);
  EXPECT_EQ(after(100ms).write, Goal::Disabled);
  failed(Goal::Disabled);
  EXPECT_TRUE(after(60s).stop_command);
  EXPECT_NE(words.find("etcd does not know that it is disabled"), std::string::npos) << words;
}

TEST_F(SessionTest, ARefreshUnderWayDoesNotDelayDisabling) {
  serve();
  after(10s);
  ASSERT_EQ(accept().write, Goal::Seen);
  EXPECT_EQ(signal().write, Goal::Disabled);
  EXPECT_EQ(wrote(Goal::Seen).write, Goal::Disabled);
  EXPECT_TRUE(wrote(Goal::Disabled).count);
}

TEST_F(SessionTest, ACommandThatEndsByItselfIsUnregisteredAtOnce) {
  serve();
  EXPECT_EQ(ended(7).write, Goal::Gone);
  EXPECT_EQ(failed(Goal::Gone).wake, now + 100ms);
  EXPECT_EQ(after(100ms).write, Goal::Gone);
  EXPECT_EQ(wrote(Goal::Gone).exit, 7);
}

TEST_F(SessionTest, ACommandThatEndsWhileDrainingEndsTheWait) {
  drain();
  counted(3);
  EXPECT_EQ(ended(0).write, Goal::Gone);
  EXPECT_EQ(wrote(Goal::Gone).exit, 0);
}

TEST_F(SessionTest, KeysThatCannotBeRemovedAreLeftAfterTenSeconds) {
  serve();
  ended(7);
  failed(Goal::Gone);
  EXPECT_FALSE(after(9s).exit);
  EXPECT_EQ(after(1s).exit, 7);
  EXPECT_EQ(take_events(), (Events{"command-ended", "etcd-failing", "keys-stay"}));
}

TEST_F(SessionTest, ASignalLeavesTheKeysThatCannotBeRemoved) {
  serve();
  ended(7);
  EXPECT_EQ(signal().exit, 7);
}

TEST_F(SessionTest, KeepLeavesTheKeysDisabled) {
  config.keep = true;
  serve();
  EXPECT_EQ(ended(7).write, Goal::Disabled);
  EXPECT_EQ(wrote(Goal::Disabled).exit, 7);
}

TEST_F(SessionTest, WithoutACommandTheDrainIsTheEnd) {
  config.has_command = false;
  config.wait_ready = false;
  config.check = false;
  ASSERT_EQ(step().write, Goal::Announced);
  wrote(Goal::Announced);
  ASSERT_EQ(signal().write, Goal::Disabled);
  wrote(Goal::Disabled);
  counted(0);
  after(2s);
  EXPECT_EQ(counted(0).write, Goal::Gone);
  EXPECT_EQ(wrote(Goal::Gone).exit, 0);
}

}  // namespace
}  // namespace lb::lbctl
