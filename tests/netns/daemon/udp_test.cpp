// UDP services: what a drain means without connections that the kernel counts.
#include <gmock/gmock.h>

#include <chrono>

#include <poll.h>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kDns = "127.0.0.1:5300";
constexpr auto kA = "127.0.0.1:7201";
constexpr auto kB = "127.0.0.1:7202";

class UdpService : public DaemonNetns {
 protected:
  void SetUp() override {
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    a_ = bind_udp(kA);
    b_ = bind_udp(kB);
    write_services(service_toml("dns", "udp://127.0.0.1:5300", {kA, kB}));
    lbd_->configure(file_source());
    ASSERT_TRUE(lbd_->start());
    ASSERT_TRUE(becomes("dns", "ok"));
  }
  // Whom one datagram from this socket reaches.
  const UniqueFd& receiver() {
    pollfd polls[] = {{a_.get(), POLLIN, 0}, {b_.get(), POLLIN, 0}};
    ::poll(polls, 2, 2000);
    const UniqueFd& who = polls[0].revents != 0 ? a_ : b_;
    char byte = 0;
    EXPECT_EQ(::recv(who.get(), &byte, 1, MSG_DONTWAIT), 1);
    return who;
  }
  const UniqueFd& send_to_service(const UniqueFd& client) {
    const SocketName name = to_name(address(kDns));
    EXPECT_EQ(::sendto(client.get(), "x", 1, 0, name.get(), name.length), 1);
    return receiver();
  }
  UniqueFd a_, b_;
};

TEST_F(UdpService, CountsAreNullAndTheFallbackIsTold) {
  EXPECT_EQ(lbd_->backend("dns", kA).active, -1);
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  send_to_service(client);
  EXPECT_EQ(lbd_->backend("dns", kA).total + lbd_->backend("dns", kB).total, 1);
  // least-conn has nothing to count.
  EXPECT_THAT(lbd_->json({"explain", "udp://127.0.0.1:5300"}),
              testing::HasSubstr("chosen by weighted random"));
}

TEST_F(UdpService, UnconnectedSocketLeavesADrainedBackendAtItsNextSend) {
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  const UniqueFd& before = send_to_service(client);
  ASSERT_EQ(lbd_->ctl({"drain", &before == &a_ ? kA : kB}).code, 0);
  for (int i = 0; i < 20; ++i) EXPECT_NE(&send_to_service(client), &before);
}

TEST_F(UdpService, WaitWaitsForConnectedSockets) {
  UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, kDns), 0);
  EXPECT_EQ(::send(client.get(), "x", 1, 0), 1);
  const UniqueFd& mine = receiver();
  const std::string target = &mine == &a_ ? kA : kB;
  const Finished waited = lbd_->ctl({"drain", target, "--wait", "--timeout", "300ms", "--json"});
  EXPECT_EQ(waited.code, 4) << waited.all();
  EXPECT_EQ(json_at(waited.out, "/connections"), "1");
  EXPECT_EQ(::send(client.get(), "x", 1, 0), 1);
  EXPECT_EQ(&receiver(), &mine) << "it keeps its backend";
  client.reset();
  EXPECT_EQ(lbd_->ctl({"drain", target, "--wait", "--timeout", "5s"}).code, 0);
}

TEST_F(UdpService, ForeignSocketOnThePortIsAConflict) {
  UniqueFd foreign = bind_udp("127.0.0.1:5301");
  write_services(service_toml("ntp", "udp://127.0.0.1:5301", {kA}));
  ASSERT_TRUE(becomes("ntp", "conflict"));
  foreign.reset();
  EXPECT_TRUE(becomes("ntp", "ok"));
}

}  // namespace
}  // namespace lb::test
