// The life of a TCP connection in all its ways to begin and end: every row of the tables that the
// design rests on. After each the count must be exact.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <functional>
#include <ostream>
#include <string>

#include <gmock/gmock.h>

#include "fixture.h"
#include "support/net_namespace.h"

namespace lb::test {
namespace {

class Lifecycle : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    listener_ = listen_on(kBackend);
    publish(kService, {{kBackend}});
  }
  int active() { return DataplaneNetns::active(kService, kBackend); }
  UniqueFd accept() { return UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  // Close sends RST instead of FIN.
  static void make_abortive(const UniqueFd& fd) {
    const linger now{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  bool becomes(int count) {
    return eventually([&] { return active() == count; });
  }

  UniqueFd listener_;
};

TEST_F(Lifecycle, ConnectIsSteeredCountedAndShowsTheServicesAddress) {
  UniqueFd client = connect_to(kService);
  ASSERT_TRUE(client);
  UniqueFd server = accept();
  EXPECT_EQ(peer_of(client), kService);
  EXPECT_EQ(active(), 1);
  EXPECT_EQ(total(kService, kBackend), 1);
  client.reset();
  server.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Lifecycle, ServerClosesFirst) {
  UniqueFd client = connect_to(kService);
  accept().reset();
  EXPECT_EQ(active(), 1);  // CLOSE_WAIT: the client has not closed
  client.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Lifecycle, HalfCloseKeepsTheConnection) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(active(), 1);
  server.reset();
  EXPECT_TRUE(becomes(0));  // FIN_WAIT2 to TIME_WAIT, which counts as closed
}

TEST_F(Lifecycle, ClientResets) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  make_abortive(client);
  client.reset();
  EXPECT_EQ(active(), 0);
}

TEST_F(Lifecycle, ServerResetsWhileTheClientKeepsItsDescriptor) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  make_abortive(server);
  server.reset();
  EXPECT_EQ(active(), 0);
}

TEST_F(Lifecycle, RefusedBlocking) {
  listener_.reset();
  EXPECT_FALSE(connect_to(kService));
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(observe(kService, kBackend)->failed.refused, 1u);
  ASSERT_EQ(failures_of(ConnectFailure::Kind::Refused), 1);
  EXPECT_EQ(failures().front().backend, address(kBackend));
  EXPECT_EQ(failures().front().service, *ServiceKey::parse(kService));
}

TEST_F(Lifecycle, RefusedNonBlockingThenRetriedOnTheSameDescriptor) {
  listener_.reset();
  UniqueFd client = open_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  const int first = try_connect(client, kService);
  EXPECT_TRUE(first == EINPROGRESS || first == ECONNREFUSED);
  EXPECT_TRUE(eventually([&] { return failures_of(ConnectFailure::Kind::Refused) == 1; }));
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &length);

  publish(kService, {{"127.0.0.1:7002"}});
  const UniqueFd other = listen_on("127.0.0.1:7002");
  int second = try_connect(client, kService);
  if (second == ECONNABORTED) second = try_connect(client, kService);  // first tells of the failure
  EXPECT_TRUE(second == 0 || second == EINPROGRESS) << second;
  EXPECT_TRUE(eventually([&] { return DataplaneNetns::active(kService, "127.0.0.1:7002") == 1; }));
  EXPECT_EQ(active(), 0);
}

TEST_F(Lifecycle, KilledClientWithFiveConnections) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<UniqueFd> fds;
    for (int i = 0; i < 5; ++i) fds.push_back(connect_to(kService));
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(active(), 5);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  // Five unaccepted connections: the listener's backlog holds their other ends.
  listener_.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Lifecycle, SharedDescriptorCountsUntilItsLastHolderCloses) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  UniqueFd twin(::dup(client.get()));
  client.reset();
  twin.reset();
  EXPECT_EQ(active(), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  server.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Lifecycle, OrphanWithUnsentDataCountsUntilTcpIsDone) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  const int small = 4096;
  ::setsockopt(server.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  const std::string much(1 << 20, 'x');
  ::send(client.get(), much.data(), much.size(), MSG_DONTWAIT);
  client.reset();
  EXPECT_EQ(active(), 1);
  server.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Lifecycle, DisconnectAndReconnectThroughTheService) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  ASSERT_EQ(::connect(client.get(), &nobody, sizeof nobody), 0);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(try_connect(client, kService), 0);
  EXPECT_EQ(active(), 1);
}

TEST_F(Lifecycle, DisconnectThenDirectConnectIsNotCounted) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  ASSERT_EQ(::connect(client.get(), &nobody, sizeof nobody), 0);
  ASSERT_EQ(try_connect(client, kBackend), 0);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(peer_of(client), kBackend);
}

TEST_F(Lifecycle, DirectConnectionToTheBackendIsNotCounted) {
  UniqueFd client = connect_to(kBackend);
  ASSERT_TRUE(client);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(peer_of(client), kBackend);
}

TEST_F(Lifecycle, SecondConnectWhileConnectedIsNotCountedTwice) {
  UniqueFd client = connect_to(kService);
  EXPECT_EQ(try_connect(client, kService), EISCONN);
  EXPECT_EQ(active(), 1);
}

TEST_F(Lifecycle, NoLocalPortLeftCountsAsGivenUp) {
  // Every port that connect() could take is bound to the one 4-tuple already: EADDRNOTAVAIL comes after
  // SYN_SENT, and the count must come back.
  UniqueFd first = open_socket(AF_INET, SOCK_STREAM);
  set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
  const SocketName local = to_name(address("127.0.0.1:19999"));
  ASSERT_EQ(::bind(first.get(), local.get(), local.length), 0);
  ASSERT_EQ(try_connect(first, kService), 0);
  UniqueFd second = open_socket(AF_INET, SOCK_STREAM);
  set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
  ASSERT_EQ(::bind(second.get(), local.get(), local.length), 0);
  EXPECT_EQ(try_connect(second, kService), EADDRNOTAVAIL);
  EXPECT_EQ(active(), 1);
  EXPECT_EQ(observe(kService, kBackend)->failed.gave_up, 1u);
}

TEST_F(Lifecycle, UnreachableBackendFailsWithoutBeingCountedActive) {
  publish(kService, {{"10.255.0.1:80"}});
  EXPECT_FALSE(connect_to(kService));
  EXPECT_EQ(errno, ENETUNREACH);
  EXPECT_EQ(DataplaneNetns::active(kService, "10.255.0.1:80"), 0);
}

TEST_F(Lifecycle, ServiceWithoutBackendRefusesAtOnce) {
  publish(kService, {});
  EXPECT_FALSE(connect_to(kService));
  EXPECT_EQ(errno, ECONNREFUSED);
  publish(kService, {{kBackend, 0}});
  EXPECT_FALSE(connect_to(kService));
  EXPECT_EQ(errno, ECONNREFUSED);
}

TEST_F(Lifecycle, RemovedServiceIsSteeredNoMoreAndKeepsItsConnections) {
  UniqueFd client = connect_to(kService);
  UniqueFd server = accept();
  ASSERT_TRUE(dataplane_->remove(*ServiceKey::parse(kService)));
  EXPECT_FALSE(connect_to(kService));
  EXPECT_EQ(active(), 1);
  EXPECT_EQ(peer_of(client), kService);
  ASSERT_EQ(::send(server.get(), "hello", 5, 0), 5);
  EXPECT_EQ(read_all_now(client), "hello");
  client.reset();
  server.reset();
  EXPECT_TRUE(becomes(0));
  EXPECT_TRUE(eventually([&] { return dataplane_->collect() && active() == -1; }));
}

// --- whose fault a failure is

struct SocketChoice {
  const char* name;
  std::function<void(const UniqueFd&)> make;
};
void PrintTo(const SocketChoice& one, std::ostream* out) { *out << one.name; }
class Refusal : public DataplaneNetns, public testing::WithParamInterface<SocketChoice> {
 protected:
  bool plain_refusal(int family, const std::function<void(const UniqueFd&)>& make) {
    publish(kService, {{kBackend}});
    failures_.clear();
    const UniqueFd client = open_socket(family, SOCK_STREAM);
    make(client);
    EXPECT_EQ(try_connect(client, kService), ECONNREFUSED);
    EXPECT_TRUE(eventually([&] { return failures_of(ConnectFailure::Kind::Refused) == 1; }));
    return failures_.back().plain;
  }
};

TEST_F(Refusal, OfAnOrdinarySocketIsPlain) {
  EXPECT_TRUE(plain_refusal(AF_INET, [](const UniqueFd&) {}));
  EXPECT_TRUE(plain_refusal(AF_INET6, [](const UniqueFd&) {}));
  EXPECT_TRUE(plain_refusal(AF_INET, [](const UniqueFd& fd) {
    const sockaddr_in any{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
  })) << "bound to no address";
}

TEST_P(Refusal, OfASocketWithAChoiceOfItsClientsIsNot) {
  EXPECT_FALSE(plain_refusal(AF_INET, GetParam().make));
  EXPECT_FALSE(plain_refusal(AF_INET6, GetParam().make)) << "of the other family";
}

INSTANTIATE_TEST_SUITE_P(
    Sockets, Refusal,
    testing::Values(
        SocketChoice{"device",
                     [](const UniqueFd& fd) {
                       EXPECT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
                     }},
        SocketChoice{"ttl", [](const UniqueFd& fd) { set_option(fd, IPPROTO_IP, IP_TTL, 9); }},
        SocketChoice{"least_ttl",
                     [](const UniqueFd& fd) { set_option(fd, IPPROTO_IP, IP_MINTTL, 3); }},
        SocketChoice{"type_of_service",
                     [](const UniqueFd& fd) { set_option(fd, IPPROTO_IP, IP_TOS, 0x10); }},
        SocketChoice{"options",
                     [](const UniqueFd& fd) {
                       const std::uint8_t nops[4] = {1, 1, 1, 0};
                       EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_IP, IP_OPTIONS, nops, sizeof nops),
                                 0);
                     }}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_F(Refusal, OfASocketBoundToAnAddressIsNotPlain) {
  EXPECT_FALSE(plain_refusal(AF_INET, [](const UniqueFd& fd) {
    const sockaddr_in name{
        .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  }));
}

TEST_F(Refusal, OfASocketWithAHopLimitIsNotPlain) {
  EXPECT_FALSE(plain_refusal(
      AF_INET6, [](const UniqueFd& fd) { set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9); }));
  EXPECT_FALSE(plain_refusal(
      AF_INET6, [](const UniqueFd& fd) { set_option(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 3); }));
}

TEST_F(Refusal, UnderEveryScopeIsNotPlain) {
  dataplane_.reset();
  EbpfOptions every;
  every.host_scope = false;
  open(every);
  publish(kService, {{"10.99.99.1:7001"}});
  run_or_throw({"ip", "address", "add", "10.99.99.1/32", "dev", "lo"});
  const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
  EXPECT_EQ(try_connect(client, kService), ECONNREFUSED);
  EXPECT_TRUE(eventually([&] { return failures_of(ConnectFailure::Kind::Refused) == 1; }));
  EXPECT_FALSE(failures_.back().plain);
}

}  // namespace
}  // namespace lb::test
