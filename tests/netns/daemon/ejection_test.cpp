// A backend that refuses or does not answer is left alone, and comes back by a look of lbd's.
#include <gmock/gmock.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr auto kHole = "10.78.9.9:7001";

class Ejection : public DaemonNetns {
 protected:
  void SetUp() override {
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    for (int i = 1; i <= 4; ++i) {
      const std::string add = "ip addr add 10.78.0." + std::to_string(i) + "/32 dev lo";
      ASSERT_EQ(std::system(add.c_str()), 0);
    }
    for (int i = 1; i <= 3; ++i) serve(i);
  }
  // Of this host, but not 127/8: there the hooks look for a listener before they choose.
  static std::string at(int i) { return "10.78.0." + std::to_string(i) + ":7001"; }
  void serve(int i) { remote_.push_back(std::make_unique<Server>(at(i), std::to_string(i))); }
  // Packets vanish there.
  static void make_black_hole() {
    ASSERT_EQ(
        std::system(
            "ip link add hole0 type veth peer name hole1 && ip addr add 10.78.9.1/24 dev hole0 "
            "&& ip link set hole0 up && ip link set hole1 up && "
            "ip neigh replace 10.78.9.9 lladdr 02:00:00:00:00:09 dev hole0 nud permanent"),
        0);
  }
  static std::string refused() { return "errno " + std::to_string(ECONNREFUSED); }
  bool is_ejected(const std::string& backend) {
    return lbd_->backend("web", backend).reason == "ejected";
  }

  std::vector<std::unique_ptr<Server>> remote_;
};

TEST_F(Ejection, OneThatRefusesFailsOnceAndIsShown) {
  serve_web({at(1), at(2), at(3), at(4)});
  auto answers = ask_often(kWeb, 100);
  EXPECT_LE(answers[refused()], 2) << "one, and another where lbd gets no processor for a second";
  ASSERT_TRUE(eventually([&] { return is_ejected(at(4)); }));
  const ListedBackend out = lbd_->backend("web", at(4));
  EXPECT_EQ(out.state, "down");
  EXPECT_EQ(out.effective_weight, 0);
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  EXPECT_THAT(lbd_->ctl({"explain", kWeb}).out, HasSubstr("ejected"));
  EXPECT_THAT(lbd_->log(), HasSubstr("backend=" + at(4) + " ejected"));
}

TEST_F(Ejection, LbdLooksFirstSoThatNoClientMeetsItAgain) {
  serve_web({at(1), at(2), at(3), at(4)});
  Load load(kWeb, 1ms);
  ASSERT_TRUE(eventually([&] { return is_ejected(at(4)); }));
  std::this_thread::sleep_for(5s);
  load.stop();
  // Were it for the clients to try: at 1, 3 and 7 s. Where lbd comes late once, one of them was first.
  EXPECT_LE(load.failed(), 2) << "of " << load.made();
  serve(4);
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", at(4)).state == "active"; }, 10s));
  EXPECT_GT(ask_often(kWeb, 60)["4"], 3);
  EXPECT_THAT(lbd_->log(), HasSubstr("backend=" + at(4) + " takes connections again"));
}

TEST_F(Ejection, BlackHoleIsTakenOutByLbdsOwnLook) {
  make_black_hole();
  serve_web({at(1), at(2), kHole});
  std::vector<UniqueFd> hanging;
  for (int i = 0; i < 6; ++i) {
    hanging.push_back(open_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK));
    (void)try_connect(hanging.back(), kWeb);
  }
  ASSERT_TRUE(eventually([&] { return is_ejected(kHole); }, 6s));
  hanging.clear();
  EXPECT_EQ(ask_often(kWeb, 60).size(), 2U);
  EXPECT_THAT(lbd_->json({"list"}), HasSubstr("does not answer"));
}

// By IP_TTL 1 and the like a client can make its own connects fail.
TEST_F(Ejection, WhatAClientDoesToItselfTakesNothingOut) {
  make_black_hole();
  serve_web({at(1), at(2), at(3)});
  for (int i = 0; i < 30; ++i) {
    const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
    const int one = 1, many = 1'000;
    ASSERT_EQ(::setsockopt(client.get(), IPPROTO_TCP, TCP_SYNCNT, &one, sizeof one), 0);
    ASSERT_EQ(::setsockopt(client.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &many, sizeof many), 0);
    // A TTL below that: the answer is thrown away.
    const int least = 255;
    ASSERT_EQ(::setsockopt(client.get(), IPPROTO_IP, IP_MINTTL, &least, sizeof least), 0);
    timeval patience{.tv_sec = 0, .tv_usec = 20'000};
    ASSERT_EQ(::setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    (void)try_connect(client, kWeb);
  }
  std::this_thread::sleep_for(2s);
  for (int i = 1; i <= 3; ++i) EXPECT_FALSE(is_ejected(at(i))) << i;
}

TEST_F(Ejection, RefusedHintIsFollowedUp) {
  serve_web({at(1), at(2), at(3), at(4)});
  const int ttl = 9;
  const auto asks = [&] {
    for (int i = 0; i < 20; ++i) {
      const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
      ASSERT_EQ(::setsockopt(client.get(), IPPROTO_IP, IP_TTL, &ttl, sizeof ttl), 0);
      (void)try_connect(client, kWeb);
    }
  };
  asks();
  EXPECT_TRUE(eventually([&] { return is_ejected(at(4)); }));
}

TEST_F(Ejection, RestartTakesItOverAndLooksAgain) {
  serve_web({at(1), at(2), at(3), at(4)});
  ask_often(kWeb, 60);
  ASSERT_TRUE(eventually([&] { return is_ejected(at(4)); }));
  lbd_->kill();
  serve(4);
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", at(4)).state == "active"; }, 15s));
  EXPECT_GT(ask_often(kWeb, 80)["4"], 3);
}

TEST_F(Ejection, OperatorSetsTheShare) {
  serve_web({at(1), at(4)}, "[dataplane]\nmax_ejected = \"0%\"\n");
  auto answers = ask_often(kWeb, 60);
  EXPECT_GT(answers[refused()], 5);
  EXPECT_FALSE(is_ejected(at(4)));
}

}  // namespace
}  // namespace lb::test
