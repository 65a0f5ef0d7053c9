// Backends that refuse are passed over by the hooks alone: no lbd looks here, as if it were dead.
#include <netinet/in.h>
#include <cerrno>
#include <map>
#include <set>
#include <thread>

#include "fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

// Of this host, but not 127/8: there the hooks look for a listener before they choose.
constexpr const char* kElsewhere = "10.77.0.";

class Ejected : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    for (int i = 1; i <= 10; ++i) {
      const std::string add = "ip addr add " + host(i) + "/32 dev lo";
      ASSERT_EQ(std::system(add.c_str()), 0);
    }
  }
  static std::string host(int i) { return kElsewhere + std::to_string(i); }
  static std::string at(int i) { return host(i) + ":7001"; }
  void start(const std::set<int>& which) {
    for (const int i : which) servers_[i] = std::make_unique<Server>(at(i), std::to_string(i));
  }
  static std::vector<Weighted> backends(int n) {
    std::vector<Weighted> out;
    for (int i = 1; i <= n; ++i) out.push_back({at(i), 1});
    return out;
  }
  static std::map<std::string, int> ask_many(int n) {
    std::map<std::string, int> answers;
    for (int i = 0; i < n; ++i) ++answers[ask(kService)];
    return answers;
  }
  static std::string refused() { return "errno " + std::to_string(ECONNREFUSED); }
  bool is_ejected(int i) {
    const auto observed = observe(kService, at(i));
    return observed && observed->ejected;
  }
  // By asking, however slowly that goes: an ejection lasts a second, and is another one after it.
  bool one_becomes_ejected(int of) {
    return eventually([&] {
      ask(kService);
      return ejected(of) == 1;
    });
  }
  int ejected(int of) {
    int count = 0;
    for (int i = 1; i <= of; ++i) count += is_ejected(i) ? 1 : 0;
    return count;
  }

  std::map<int, std::unique_ptr<Server>> servers_;
};

class EjectedByPolicy : public Ejected, public testing::WithParamInterface<Balance> {};

TEST_P(EjectedByPolicy, OneThatRefusesCostsOneConnect) {
  start({1, 2, 3});
  publish(kService, backends(4), GetParam());
  // Source-hash sends this client to one backend, which may not be the one that refuses.
  if (GetParam() == Balance::SourceHash) {
    const std::string mine = ask(kService);
    if (mine != refused()) servers_.erase(std::stoi(mine));
    if (mine != refused()) start({4});
  }
  const auto began = std::chrono::steady_clock::now();
  auto answers = ask_many(150);
  const auto seconds = (std::chrono::steady_clock::now() - began) / 1s;
  EXPECT_LE(answers[refused()], 1 + seconds);
  EXPECT_TRUE(one_becomes_ejected(4));
}

TEST_P(EjectedByPolicy, WhatItWouldHaveGotFallsOnAllOthers) {
  if (GetParam() == Balance::SourceHash) return;  // one client, one backend
  start({1, 2, 3});
  publish(kService, backends(4), GetParam());
  while (ask(kService) != refused()) continue;
  auto answers = ask_many(600);
  for (const char* who : {"1", "2", "3"}) EXPECT_NEAR(answers[who], 200, 60) << who;
}

TEST_P(EjectedByPolicy, NeverMoreThanHalfAreOut) {
  start({1});
  publish(kService, backends(4), GetParam());
  ask_many(60);
  EXPECT_LE(ejected(4), 2);
  // One that refuses is let in beside the one that works, with its share.
  if (GetParam() != Balance::SourceHash) {
    EXPECT_NEAR(ask_many(200)[refused()], 100, 80);
  }
  // Of the three that refuse one is let in beside the one that works: nothing is ever without choice.
  EXPECT_TRUE(observe(kService, at(1)) && !is_ejected(1));
}

TEST_P(EjectedByPolicy, OneAloneIsNeverOut) {
  publish(kService, backends(1), GetParam());
  EXPECT_EQ(ask(kService), refused());
  EXPECT_EQ(ejected(1), 0);
  start({1});
  EXPECT_EQ(ask(kService), "1") << "at once, whatever it did a moment ago";
}

TEST_P(EjectedByPolicy, AllThatRefuseAreTriedOn) {
  publish(kService, backends(3), GetParam());
  ask_many(30);
  EXPECT_LE(ejected(3), 1);
  start({1, 2, 3});
  EXPECT_EQ(ask_many(20)[refused()], 0)
      << "those that are ejected are passed over, the others work";
}

INSTANTIATE_TEST_SUITE_P(All, EjectedByPolicy, all_balances(), name_of_balance);

TEST_F(Ejected, WeightedRoundRobinIsCountedByLinesAndNotByItsSequence) {
  start({1});
  std::vector<Weighted> weighted = backends(3);
  weighted[0].weight = 10;
  publish(kService, weighted, Balance::RoundRobin);
  EXPECT_TRUE(one_becomes_ejected(3));
  ask_many(24);
  EXPECT_LE(ejected(3), 1) << "half of three lines, though the two are but 2 of 12 turns";
}

TEST_F(Ejected, WhereLbdIsAwayOneConnectTriesForAll) {
  start({1, 2});
  publish(kService, backends(3));
  ASSERT_TRUE(one_becomes_ejected(3));
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(ask_many(30)[refused()], 1) << "the ejection has passed: one tries, the others wait";
  EXPECT_EQ(ejected(3), 1) << "for twice as long";
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(ask_many(30)[refused()], 0);
}

TEST_F(Ejected, WhereLbdIsAwayOneThatIsBackIsUsedAgain) {
  start({1, 2});
  publish(kService, backends(3));
  ASSERT_TRUE(one_becomes_ejected(3));
  start({3});
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(ask_many(15)["3"], 1) << "its trial has not ended yet";
  std::this_thread::sleep_for(1600ms);
  EXPECT_GT(ask_many(60)["3"], 5);
  EXPECT_EQ(ejected(3), 0);
}

// IP_TTL is one of the things by which a client makes its own connects fail.
TEST_F(Ejected, WhatAClientCanMakeFailIsAHint) {
  start({1, 2});
  publish(kService, backends(3));
  for (int i = 0; i < 50; ++i) {
    const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM);
    const int ttl = 7;
    ASSERT_EQ(::setsockopt(fd.get(), IPPROTO_IP, IP_TTL, &ttl, sizeof ttl), 0);
    (void)try_connect(fd, kService);
  }
  EXPECT_EQ(ejected(3), 0);
  EXPECT_GT(failures_of(ConnectFailure::Kind::Refused), 0) << "lbd looks itself";
}

TEST_F(Ejected, LbdsOwnLookTakesOutAndBack) {
  start({1, 2, 3});
  publish(kService, backends(3));
  using Look = Dataplane::Look;
  const ServiceKey service = *ServiceKey::parse(kService);
  const auto again = dataplane_->looked(service, address(at(2)), Look::Hangs);
  ASSERT_TRUE(again);
  EXPECT_LE(*again, 1000ms);
  EXPECT_TRUE(is_ejected(2));
  EXPECT_EQ(ask_many(60)["2"], 0);
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(ask_many(60)["2"], 0) << "a black hole comes back by a look that succeeds, and only so";
  EXPECT_FALSE(dataplane_->looked(service, address(at(2)), Look::Well));
  EXPECT_GT(ask_many(60)["2"], 5);
}

TEST_F(Ejected, ANewLbdTakesOverWhatIsEjected) {
  start({1, 2, 3});
  publish(kService, backends(3));
  ASSERT_TRUE(
      dataplane_->looked(*ServiceKey::parse(kService), address(at(3)), Dataplane::Look::Hangs));
  open();
  EXPECT_TRUE(is_ejected(3));
  ASSERT_TRUE(dataplane_->collect());
  ASSERT_EQ(failures().size(), 1U) << "lbd is told whom it is to look at";
  EXPECT_EQ(failures()[0].backend, address(at(3)));
  EXPECT_TRUE(failures()[0].look_after);
}

TEST_F(Ejected, NoneWhereTheOperatorWantsNone) {
  EbpfOptions options;
  options.max_ejected = 0;
  open(options);
  start({1, 2, 3});
  publish(kService, backends(4), Balance::RoundRobin);
  EXPECT_EQ(ask_many(40)[refused()], 10);
  EXPECT_EQ(ejected(4), 0);
}

// A line that was ejected and given to another backend since is not ejected.
TEST_F(Ejected, AnotherBackendInItsLineIsFree) {
  start({1, 2});
  publish(kService, backends(3));
  ASSERT_TRUE(one_becomes_ejected(3));
  publish(kService, {{at(1), 1}, {at(2), 1}});
  std::this_thread::sleep_for(1100ms);
  ASSERT_TRUE(dataplane_->collect());
  ASSERT_FALSE(observe(kService, at(3)));
  publish(kService, backends(3));
  EXPECT_EQ(ejected(3), 0);
}

}  // namespace
}  // namespace lb::test
