// UDP, connected and not: where datagrams go, and whom they seem to come from.
#include <netinet/in.h>

#include <cerrno>

#include "fixture.h"

namespace lb::test {
namespace {

constexpr auto kUdpService = "udp://127.0.0.1:5300";
constexpr auto kPlain = "127.0.0.1:5300";

int send_to(const UniqueFd& fd, std::string_view to, std::string_view text) {
  int family = 0;
  socklen_t length = sizeof family;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &family, &length);
  const SocketName name = to_name(address(to), family);
  return ::sendto(fd.get(), text.data(), text.size(), 0, name.get(), name.length) < 0 ? errno : 0;
}

struct Datagram {
  std::string text, from;
};
Datagram receive(const UniqueFd& fd) {
  char buffer[64];
  SocketName name;
  name.length = sizeof name.storage;
  const ssize_t n = ::recvfrom(fd.get(), buffer, sizeof buffer, 0, name.get(), &name.length);
  if (n < 0) return {"", ""};
  return {std::string(buffer, static_cast<std::size_t>(n)), from_name(name).to_string()};
}
// The backend's side: takes one datagram and answers it.
void answer(const UniqueFd& fd, std::string_view text) {
  char buffer[64];
  SocketName name;
  name.length = sizeof name.storage;
  ASSERT_GE(::recvfrom(fd.get(), buffer, sizeof buffer, 0, name.get(), &name.length), 0);
  ASSERT_GE(::sendto(fd.get(), text.data(), text.size(), 0, name.get(), name.length), 0);
}
bool has_datagram(const UniqueFd& fd) {
  char byte = 0;
  return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

class Udp : public DataplaneNetns {};

TEST_F(Udp, ConnectedSocketIsSteeredAndSeesTheService) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, kPlain), 0);
  EXPECT_EQ(peer_of(client), kPlain);
  ASSERT_EQ(::send(client.get(), "ping", 4, 0), 4);
  answer(backend, "pong");
  const Datagram reply = receive(client);
  EXPECT_EQ(reply.text, "pong");
  EXPECT_EQ(reply.from, kPlain);
  EXPECT_FALSE(observe(kUdpService, "127.0.0.1:7053")->active_connections);
  EXPECT_EQ(total(kUdpService, "127.0.0.1:7053"), 1);
  EXPECT_EQ(*dataplane_->count_sockets(*ServiceKey::parse(kUdpService), address("127.0.0.1:7053")),
            1u);
}

TEST_F(Udp, UnconnectedSocketSticksToItsBackendAndSeesTheService) {
  const UniqueFd one = bind_udp("127.0.0.1:7053");
  const UniqueFd two = bind_udp("127.0.0.1:7054");
  publish(kUdpService, {{"127.0.0.1:7053"}, {"127.0.0.1:7054"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(send_to(client, kPlain, "ping"), 0);
  const bool first = has_datagram(one);
  EXPECT_NE(first, has_datagram(two));  // all ten went to one of them
  answer(first ? one : two, "pong");
  EXPECT_EQ(receive(client).from, kPlain);
}

TEST_F(Udp, UnconnectedSocketLeavesADrainedBackendAtItsNextSend) {
  const UniqueFd one = bind_udp("127.0.0.1:7053");
  const UniqueFd two = bind_udp("127.0.0.1:7054");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(send_to(client, kPlain, "a"), 0);
  publish(kUdpService, {{"127.0.0.1:7053", 0}, {"127.0.0.1:7054"}});
  ASSERT_EQ(send_to(client, kPlain, "b"), 0);
  EXPECT_TRUE(has_datagram(one));
  EXPECT_TRUE(has_datagram(two));
}

TEST_F(Udp, OneSocketTalksToSeveralServicesInTurn) {
  const UniqueFd one = bind_udp("127.0.0.1:7053");
  const UniqueFd two = bind_udp("127.0.0.1:7054");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  publish("udp://127.0.0.1:5301", {{"127.0.0.1:7054"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(send_to(client, kPlain, "a"), 0);
  ASSERT_EQ(send_to(client, "127.0.0.1:5301", "b"), 0);
  answer(one, "from one");
  EXPECT_EQ(receive(client).from, kPlain);
  answer(two, "from two");
  EXPECT_EQ(receive(client).from, "127.0.0.1:5301");
}

TEST_F(Udp, DirectTrafficIsNotRenamed) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(send_to(client, "127.0.0.1:7053", "ping"), 0);
  answer(backend, "pong");
  EXPECT_EQ(receive(client).from, "127.0.0.1:7053");
}

TEST_F(Udp, V6SocketWithMappedAddressAndV6Backend) {
  const UniqueFd four = bind_udp("127.0.0.1:7053");
  const UniqueFd six = bind_udp("[::1]:7054");
  publish(kUdpService, {{"127.0.0.1:7053"}, {"[::1]:7054"}});
  const UniqueFd mapped = open_socket(AF_INET6, SOCK_DGRAM);
  set_option(mapped, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  ASSERT_EQ(send_to(mapped, kPlain, "ping"), 0);
  answer(four, "pong");
  EXPECT_EQ(receive(mapped).from, kPlain);
  const UniqueFd native = open_socket(AF_INET6, SOCK_DGRAM);
  ASSERT_EQ(send_to(native, "[::1]:5300", "ping"), 0);
  answer(six, "pong");
  EXPECT_EQ(receive(native).from, "[::1]:5300");
}

TEST_F(Udp, NoBackendIsRefused) {
  publish(kUdpService, {});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(send_to(client, kPlain, "ping"), ECONNREFUSED);
  EXPECT_EQ(try_connect(client, kPlain), ECONNREFUSED);
}

TEST_F(Udp, ConnectedSocketsOfARemovedBackendAreEnded) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, kPlain), 0);
  const UniqueFd stranger = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(stranger, "127.0.0.1:7053"), 0);
  publish(kUdpService, {});
  EXPECT_TRUE(
      eventually([&] { return dataplane_->collect() && !observe(kUdpService, "127.0.0.1:7053"); }));
  EXPECT_LT(::send(client.get(), "x", 1, 0), 0);
  EXPECT_EQ(::send(stranger.get(), "x", 1, 0), 1);  // not steered: not ours to end
}

// It was steered once, and means the backend itself now.
TEST_F(Udp, SocketThatWentOverToTheBackendItselfIsNotOurs) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, kPlain), 0);
  ASSERT_EQ(try_connect(client, "127.0.0.1:7053"), 0);
  EXPECT_EQ(peer_of(client), "127.0.0.1:7053");
  EXPECT_EQ(*dataplane_->count_sockets(*ServiceKey::parse(kUdpService), address("127.0.0.1:7053")),
            0U);
  publish(kUdpService, {});
  EXPECT_TRUE(
      eventually([&] { return dataplane_->collect() && !observe(kUdpService, "127.0.0.1:7053"); }));
  EXPECT_EQ(::send(client.get(), "x", 1, 0), 1);
}

TEST_F(Udp, OperatorMayKeepConnectedSocketsOfARemovedBackend) {
  EbpfOptions options;
  options.end_udp = false;
  open(options);
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(try_connect(client, kPlain), 0);
  publish(kUdpService, {});
  EXPECT_TRUE(
      eventually([&] { return dataplane_->collect() && !observe(kUdpService, "127.0.0.1:7053"); }));
  EXPECT_EQ(::send(client.get(), "x", 1, 0), 1);
}

TEST_F(Udp, OfTwoServicesOnOneBackendTheOneAskedLastIsShown) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  publish(kUdpService, {{"127.0.0.1:7053"}});
  publish("udp://127.0.0.1:5055", {{"127.0.0.1:7053"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
  for (const char* to : {kPlain, "127.0.0.1:5055", kPlain, "127.0.0.1:5055"}) {
    ASSERT_EQ(try_connect(client, to), 0);
    EXPECT_EQ(peer_of(client), to);
  }
}

// The hooks look at a bit per port before they look at addresses.
TEST_F(Udp, PortThatIsLeftAndTakenAgainServes) {
  const UniqueFd backend = bind_udp("127.0.0.1:7053");
  for (int round = 0; round < 3; ++round) {
    publish(kUdpService, {{"127.0.0.1:7053"}});
    const UniqueFd client = open_socket(AF_INET, SOCK_DGRAM);
    ASSERT_EQ(try_connect(client, kPlain), 0);
    EXPECT_EQ(peer_of(client), kPlain);
    ASSERT_TRUE(dataplane_->remove(*ServiceKey::parse(kUdpService)));
    const UniqueFd late = open_socket(AF_INET, SOCK_DGRAM);
    ASSERT_EQ(try_connect(late, kPlain), 0);
    EXPECT_EQ(total(kUdpService, "127.0.0.1:7053"), round + 1) << "not steered";
  }
}

}  // namespace
}  // namespace lb::test
