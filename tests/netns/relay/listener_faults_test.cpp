// Updaters that are none, or broken ones.
#include <sys/socket.h>

#include "netns/relay/listener_fixture.h"
#include "relay/choice.h"
#include "support/free_port.h"
#include "support/process.h"
#include "support/sockets.h"
#include "support/temp_folder.h"

namespace lb::test {
namespace {

class ListenerFaults : public ListenerTest {
 protected:
  // A real updater that feeds, beside `bad`.
  void listen_beside(const HostPort& bad) {
    start(0);
    publish(0, web({"10.0.0.1:80"}));
    listen({bad});
    ASSERT_TRUE(sees({"10.0.0.1:80"}));
    ASSERT_TRUE(reaches([&] { return feeder() == 0U; }));
  }
  [[nodiscard]] std::string warning() const {
    return snapshots_.empty() || snapshots_.back().warnings.empty() ? ""
                                                                    : snapshots_.back().warnings[0];
  }
  // It is complained of in the snapshot's warnings, once, with these words and its name.
  void expect_warning(const HostPort& bad, const std::string& words) {
    EXPECT_TRUE(reaches([&] { return !warning().empty(); }));
    EXPECT_EQ(warning().rfind(fmt::format("updater 127.0.0.1:{}: ", bad.port), 0), 0U) << warning();
    EXPECT_NE(warning().find(words), std::string::npos) << warning();
    EXPECT_EQ(source_->status().error, "");
    EXPECT_TRUE(errors_.empty()) << errors_[0];
    const std::size_t before = snapshots_.size();
    run_for(1500ms);  // some more attempts
    EXPECT_EQ(snapshots_.size(), before);
    EXPECT_NE(source_->updaters()[1].error, "");
  }
  static std::string state(const std::string& epoch, std::uint64_t sequence,
                           const Services& services) {
    return relay::encode(relay::SnapshotMessage{{epoch, sequence}, marks(), services});
  }
};

TEST_F(ListenerFaults, OneThatSpeaksGarbage) {
  FakeUpdater garbage(io_, "\x01\x02garbage\n");
  listen_beside(garbage.at());
  expect_warning(garbage.at(), "this is not lbd's push protocol");
  EXPECT_LT(garbage.accepted(), 12);  // a back-off
}

TEST_F(ListenerFaults, OneThatSpeaksGarbageAfterItsHello) {
  FakeUpdater garbage(io_, hello_of("e") + "{\"t\":\"snapshot\",\"seq\":-1}\n");
  listen_beside(garbage.at());
  expect_warning(garbage.at(), "a snapshot of the push protocol");
  EXPECT_TRUE(reaches([&] { return garbage.count<relay::Goodbye>() > 0; }));
}

std::string hello_of_version(const std::string& version) {
  std::string hello = hello_of("e");
  return hello.replace(hello.find("\"proto\":1"), 9, "\"proto\":" + version);
}

TEST_F(ListenerFaults, OneOfANewerVersionIsNone) {
  FakeUpdater newer(io_, hello_of_version("9"));
  newer.when_asked([](const relay::Feed&) { return state("e", 1, web({"10.0.0.9:80"})); });
  listen({newer.at()});
  EXPECT_TRUE(sees({"10.0.0.9:80"})) << "both speak the smaller version";
  EXPECT_TRUE(snapshots_.back().warnings.empty());
}

TEST_F(ListenerFaults, OneWithoutAVersionOfTheProtocol) {
  FakeUpdater none(io_, hello_of_version("0"));
  listen_beside(none.at());
  expect_warning(none.at(), "says no version of the push protocol");
}

TEST_F(ListenerFaults, AWebServer) {
  const std::string url = free_url();
  const HostPort at = HostPort::parse(url.substr(7)).value();
  TempFolder folder;
  folder.write(
      "nginx.conf",
      fmt::format("daemon off; pid {0}/pid; error_log {0}/error.log; events {{}}\n"
                  "http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; "
                  "fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n"
                  "server {{ listen 127.0.0.1:{1}; }} }}\n",
                  folder.path(), at.port));
  Process nginx(
      {"/usr/sbin/nginx", "-c", folder.file("nginx.conf"), "-e", folder.file("error.log")},
      folder.file("log"));
  ASSERT_TRUE(eventually([&] {
    return connect_to(fmt::format("127.0.0.1:{}", at.port)).get() >= 0;
  })) << nginx.log();
  listen_beside(at);
  expect_warning(at, "speaks HTTP");
}

TEST_F(ListenerFaults, OneThatSaysNothing) {
  FakeUpdater silent(io_, "");
  listen_beside(silent.at());
  EXPECT_TRUE(reaches([&] { return !source_->updaters()[1].error.empty(); }));
  EXPECT_NE(source_->updaters()[1].error.find("says nothing"), std::string::npos)
      << source_->updaters()[1].error;
  EXPECT_EQ(snapshots_.size(), 1U);
}

TEST_F(ListenerFaults, OneThatNeverEndsALine) {
  FakeUpdater endless(io_, hello_of("e"));
  start(0);
  publish(0, web({"10.0.0.1:80"}));
  endless.when_asked([](const relay::Feed&) {
    return "{\"t\":\"snapshot\",\"x\":\"" + std::string(relay::kLineLimit + 10, 'x');
  });
  listen({endless.at()});
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  kill(0);  // so that the other one is asked, if it was not before
  EXPECT_TRUE(reaches([&] {
    return source_->updaters()[1].error.find("a message of more than 33554432 bytes") !=
           std::string::npos;
  })) << source_->updaters()[1].error;
}

TEST_F(ListenerFaults, OneWhoseStateComesTooSlowly) {
  FakeUpdater slow(io_, hello_of("e"));
  slow.when_asked([](const relay::Feed&) { return std::string("{\"t\":\"snapshot\","); });
  start(0);
  publish(0, web({"10.0.0.1:80"}));
  listen({slow.at()});
  const auto begin = steady_clock::now();
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  EXPECT_LT(steady_clock::now() - begin, relay::Choice::kPatience + 3s);
  EXPECT_EQ(feeder(), 0U);
}

TEST_F(ListenerFaults, AFeederThatFallsSilentIsDeadAfterFifteenSeconds) {
  FakeUpdater frozen(io_, hello_of("e"));
  frozen.when_asked([](const relay::Feed&) { return state("e", 1, web({"10.0.0.1:80"})); });
  listen({frozen.at()});
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  const auto begin = steady_clock::now();
  EXPECT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_GE(steady_clock::now() - begin, 14s);
  EXPECT_NE(errors_.at(0).find("nothing was heard"), std::string::npos) << errors_[0];
  ASSERT_TRUE(reaches([&] { return snapshots_.size() == 2; }));  // told again after the error
  EXPECT_TRUE(source_->status().connected);
  EXPECT_EQ(snapshots_[1].services, snapshots_[0].services);
}

TEST_F(ListenerFaults, ALostDeltaIsAnsweredByAResync) {
  FakeUpdater lossy(io_, hello_of("e"));
  int asked = 0;
  lossy.when_asked([&asked](const relay::Feed&) {
    ++asked;
    return state("e", 1, web({"10.0.0.1:80"}));
  });
  listen({lossy.at()});
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  relay::Delta delta;
  delta.at = {"e", 3};
  delta.base = 2;
  delta.sources = marks();
  delta.changed = {web({"10.0.0.3:80"})[0]};
  lossy.say(relay::encode(delta));
  ASSERT_TRUE(reaches([&] { return lossy.count<relay::Resync>() == 1; }));
  EXPECT_EQ(seen(), (Lines{"10.0.0.1:80"}));
  lossy.say(state("e", 3, web({"10.0.0.3:80"})));
  ASSERT_TRUE(sees({"10.0.0.3:80"}));
  EXPECT_EQ(snapshots_.back().absence, Absence::Believed);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(lossy.accepted(), 1);
}

TEST_F(ListenerFaults, AfterACutItAsksForTheChangesSinceThen) {
  FakeUpdater updater(io_, hello_of("e"));
  std::vector<std::optional<relay::Position>> asked;
  updater.when_asked([&asked](const relay::Feed& feed) {
    asked.push_back(feed.have);
    return feed.have ? std::string() : state("e", 4, web({"10.0.0.1:80"}));
  });
  listen({updater.at()});
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  updater.greet_with(hello_of("e", 5));
  updater.cut();
  ASSERT_TRUE(reaches([&] { return asked.size() == 2; }));
  EXPECT_EQ(asked[1], (relay::Position{"e", 4}));
  relay::Delta delta;
  delta.at = {"e", 5};
  delta.base = 4;
  delta.sources = marks();
  delta.changed = {web({"10.0.0.5:80"})[0]};
  updater.say(relay::encode(delta));
  ASSERT_TRUE(sees({"10.0.0.5:80"}));
  EXPECT_EQ(snapshots_.back().absence, Absence::Believed);
}

TEST_F(ListenerFaults, NobodyAtAll) {
  listen({HostPort{"127.0.0.1", 1}, HostPort{"127.0.0.1", 2}});
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_EQ(errors_[0].rfind("no updater feeds: updater 127.0.0.1:1: connect: Connection refused; "
                             "updater 127.0.0.1:2: ",
                             0),
            0U)
      << errors_[0];
  EXPECT_TRUE(source_->status().unreachable);
  EXPECT_FALSE(source_->status().connected);
  EXPECT_EQ(source_->status().position, "none of 2");
  run_for(2s);
  EXPECT_EQ(errors_.size(), 1U);  // told once
}

TEST_F(ListenerFaults, ANameThatDoesNotResolve) {
  listen({HostPort{"no-such-host.invalid", 7676}});
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find("no-such-host.invalid"), std::string::npos) << errors_[0];
}

}  // namespace
}  // namespace lb::test
