// Which client reaches which backend: IPv4, IPv6, dual-stack, V6ONLY, and what getpeername shows.
#include <netinet/in.h>

#include <cerrno>

#include "fixture.h"

namespace lb::test {
namespace {

class Family : public DataplaneNetns {
 protected:
  // errno of a connect from an AF_INET6 socket, 0 when it worked; what it sees as its peer in `peer`.
  static int connect6(std::string_view to, bool v6only, std::string* peer = nullptr) {
    const UniqueFd fd = open_socket(AF_INET6, SOCK_STREAM);
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only ? 1 : 0);
    const int err = try_connect(fd, to);
    if (peer && err == 0) *peer = peer_of(fd);
    return err;
  }
};

TEST_F(Family, OneServiceAnswersOnAllLoopbackAddresses) {
  const Server four("127.0.0.1:7001", "four");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}});
  EXPECT_EQ(ask("127.0.0.1:5000"), "four");
  EXPECT_EQ(ask("[::1]:5000"), "four");
  std::string peer;
  EXPECT_EQ(connect6("127.0.0.1:5000", false, &peer), 0);  // as ::ffff:127.0.0.1
  EXPECT_EQ(peer, "127.0.0.1:5000");
  EXPECT_EQ(connect6("[::1]:5000", false, &peer), 0);
  EXPECT_EQ(peer, "[::1]:5000");
}

TEST_F(Family, ConnectingToTheUnspecifiedAddressMeansLoopback) {
  const Server four("127.0.0.1:7001", "four");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}});
  EXPECT_EQ(ask("0.0.0.0:5000"), "four");
  EXPECT_EQ(ask("[::]:5000"), "four");
}

TEST_F(Family, EachSocketGetsOnlyBackendsThatItCanReach) {
  const Server four("127.0.0.1:7001", "four");
  const Server six("[::1]:7002", "six");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}, {"[::1]:7002"}});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ask("127.0.0.1:5000"), "four");
    EXPECT_EQ(connect6("[::1]:5000", true), 0);
  }
  // The server's thread may accept only after connect() returned.
  EXPECT_TRUE(eventually([&] { return six.accepted() == 20; })) << six.accepted();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(connect6("[::1]:5000", false), 0);
  EXPECT_GT(six.accepted(), 20);  // a dual-stack socket uses both
  EXPECT_LT(six.accepted(), 120);
}

TEST_F(Family, NoReachableBackendIsRefused) {
  const Server four("127.0.0.1:7001", "four");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}});
  EXPECT_EQ(connect6("[::1]:5000", true), ECONNREFUSED);
  const Server six("[::1]:7002", "six");
  publish("127.0.0.1:5000", {{"[::1]:7002"}});
  EXPECT_EQ(ask("127.0.0.1:5000"), "errno 111");
  EXPECT_EQ(ask("[::1]:5000"), "six");
}

TEST_F(Family, ExplicitV6LoopbackServiceWinsOverTheAlias) {
  const Server four("127.0.0.1:7001", "four");
  const Server six("[::1]:7002", "six");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}});
  publish("[::1]:5000", {{"[::1]:7002"}});
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}}, Balance::LeastConn, {"127.0.0.1"});
  EXPECT_EQ(ask("[::1]:5000"), "six");
  EXPECT_EQ(ask("127.0.0.1:5000"), "four");
  std::string peer;
  EXPECT_EQ(connect6("[::1]:5000", true, &peer), 0);
  EXPECT_EQ(peer, "[::1]:5000");
}

TEST_F(Family, WildcardServiceShowsTheAddressThatTheClientUsed) {
  const Server four("127.0.0.1:7001", "four");
  publish("0.0.0.0:5000", {{"127.0.0.1:7001"}}, Balance::LeastConn,
          {"127.0.0.1", "127.0.0.9", "::1"});
  for (const std::string to : {"127.0.0.1:5000", "127.0.0.9:5000", "[::1]:5000"}) {
    const UniqueFd client = connect_to(to);
    ASSERT_TRUE(client) << to;
    EXPECT_EQ(peer_of(client), to);
    EXPECT_EQ(active("0.0.0.0:5000", "127.0.0.1:7001"), 1);
    EXPECT_EQ(read_all_now(client), "four");
    ::shutdown(client.get(), SHUT_WR);
    EXPECT_TRUE(eventually([&] { return active("0.0.0.0:5000", "127.0.0.1:7001") == 0; }));
  }
  EXPECT_EQ(ask("127.0.0.2:5000"), "errno 111");  // not among its addresses, and nobody listens
}

TEST_F(Family, AnotherNetworkNamespaceIsLeftAlone) {
  const Server four("127.0.0.1:7001", "four");
  publish("127.0.0.1:5000", {{"127.0.0.1:7001"}});
  ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
  bring_up_loopback();
  EXPECT_EQ(ask("127.0.0.1:5000"), "errno 111");
  const Server other("127.0.0.1:5000", "direct");
  EXPECT_EQ(ask("127.0.0.1:5000"), "direct");
  const UniqueFd client = connect_to("127.0.0.1:5000");
  EXPECT_EQ(active("127.0.0.1:5000", "127.0.0.1:7001"), 0);
}

}  // namespace
}  // namespace lb::test
