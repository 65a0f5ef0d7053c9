// Clients that are bound to an address or a device get a backend that they can reach, or are refused.
#include <netinet/in.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "fixture.h"

namespace lb::test {
namespace {

constexpr auto kBeyond = "10.66.1.9:7001";  // beyond a router that is not there
constexpr auto kOwn = "10.66.0.1:7001";
constexpr auto kUdp = "127.0.0.1:7002";
constexpr auto kBeyondUdp = "10.66.1.9:7002";
constexpr auto kBoundUdp = "udp://127.0.0.1:5053";

class Bound : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(
        std::system("ip link add out0 type veth peer name out1 && ip addr add 10.66.0.1/24 dev "
                    "out0 && ip link set out0 up && ip link set out1 up && "
                    "ip route add 10.66.1.0/24 via 10.66.0.2"),
        0);
    open();  // an lbd that knows the address
    servers_.push_back(std::make_unique<Server>(kBackend, "local"));
    servers_.push_back(std::make_unique<Server>("[::1]:7001", "local6"));
    servers_.push_back(std::make_unique<Server>(kOwn, "own"));
  }
  static UniqueFd bound(std::string_view ip, int type = SOCK_STREAM) {
    SocketName name = to_name({*IpAddress::parse(ip), 1});
    reinterpret_cast<sockaddr_in*>(name.get())->sin_port = 0;  // the same place in IPv6's
    UniqueFd fd = open_socket(name.get()->sa_family, type);
    EXPECT_EQ(::bind(fd.get(), name.get(), name.length), 0) << std::strerror(errno);
    return fd;
  }
  static UniqueFd on_loopback(int type = SOCK_STREAM) {
    UniqueFd fd = open_socket(AF_INET, type);
    EXPECT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
    return fd;
  }

  std::vector<std::unique_ptr<Server>> servers_;
};

class BoundByPolicy : public Bound, public testing::WithParamInterface<Balance> {};

TEST_P(BoundByPolicy, LoopbackSourceGetsALocalBackend) {
  publish(kService, {{kBackend, 1}, {kBeyond, 1000}}, GetParam());
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(try_connect(bound("127.0.0.1"), kService), 0);
    EXPECT_EQ(try_connect(bound("127.0.0.7"), kService), 0);
    EXPECT_EQ(try_connect(on_loopback(), kService), 0);
  }
  EXPECT_EQ(total(kService, kBeyond), 0);
}

INSTANTIATE_TEST_SUITE_P(All, BoundByPolicy, all_balances(), name_of_balance);

TEST_F(Bound, OneLocalAmongManyIsFound) {
  std::vector<Weighted> many{{kBackend, 1}};
  for (int i = 1; i <= 30; ++i) many.push_back({"10.66.1." + std::to_string(100 + i) + ":7001", 1});
  publish(kService, many);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(try_connect(bound("127.0.0.1"), kService), 0);
}

TEST_F(Bound, AddressOfThisHostIsNear) {
  publish(kService, {{kOwn, 1}, {kBeyond, 1}});
  for (int i = 0; i < 20; ++i) {
    const UniqueFd client = bound("127.0.0.1");
    ASSERT_EQ(try_connect(client, kService), 0);
  }
  EXPECT_EQ(total(kService, kBeyond), 0);
}

TEST_F(Bound, AddressThatComesLaterIsSeen) {
  publish(kService, {{"10.66.0.77:7001", 1}});
  EXPECT_EQ(try_connect(bound("127.0.0.1"), kService), ECONNREFUSED);
  ASSERT_EQ(std::system("ip addr add 10.66.0.77/24 dev out0"), 0);
  const Server server("10.66.0.77:7001", "late");
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(dataplane_->collect());
    return try_connect(bound("127.0.0.1"), kService) == 0;
  }));
}

TEST_F(Bound, WithoutALocalBackendItIsRefused) {
  publish(kService, {{kBeyond, 1}});
  EXPECT_EQ(try_connect(bound("127.0.0.1"), kService), ECONNREFUSED);
  EXPECT_EQ(try_connect(on_loopback(), kService), ECONNREFUSED);
  EXPECT_EQ(total(kService, kBeyond), 0);
}

TEST_F(Bound, FamilyOfTheSourceDecides) {
  publish(kService, {{kBackend, 1}, {"[::1]:7001", 1}});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(try_connect(bound("::1"), "[::1]:5000"), 0) << "never an IPv4 backend";
    EXPECT_EQ(try_connect(bound("::ffff:127.0.0.1"), kService), 0) << "never ::1";
  }
}

TEST_F(Bound, OtherSourcesReachAll) {
  publish(kService, {{kBackend, 1}, {kOwn, 1}});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(try_connect(bound("10.66.0.1"), kService), 0);
  EXPECT_GT(total(kService, kBackend), 0);
  EXPECT_GT(total(kService, kOwn), 0);
}

TEST_F(Bound, UdpToo) {
  const UniqueFd receiver = bind_udp(kUdp);
  publish(kBoundUdp, {{kUdp, 1}, {kBeyondUdp, 1000}});
  const SocketName service = to_name(address("127.0.0.1:5053"));
  for (int i = 0; i < 20; ++i) {
    const UniqueFd connected = bound("127.0.0.1", SOCK_DGRAM);
    EXPECT_EQ(::connect(connected.get(), service.get(), service.length), 0);
    const UniqueFd unconnected = bound("127.0.0.1", SOCK_DGRAM);
    EXPECT_EQ(::sendto(unconnected.get(), "x", 1, 0, service.get(), service.length), 1)
        << std::strerror(errno);
  }
  EXPECT_EQ(total(kBoundUdp, kBeyondUdp), 0);
  publish(kBoundUdp, {{kBeyondUdp, 1}});
  const UniqueFd alone = bound("127.0.0.1", SOCK_DGRAM);
  EXPECT_EQ(::connect(alone.get(), service.get(), service.length), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

// The first connect leaves the source address in the socket.
TEST_F(Bound, SecondConnectOfOneUdpSocket) {
  const UniqueFd receiver = bind_udp(kUdp);
  publish(kBoundUdp, {{kUdp, 1}});
  const SocketName service = to_name(address("127.0.0.1:5053"));
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(::connect(client.get(), service.get(), service.length), 0);
  publish(kBoundUdp, {{kUdp, 1}, {kBeyondUdp, 1000}});
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(::connect(client.get(), service.get(), service.length), 0) << std::strerror(errno);
  publish(kBoundUdp, {{kBeyondUdp, 1}});
  EXPECT_EQ(::connect(client.get(), service.get(), service.length), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

}  // namespace
}  // namespace lb::test
