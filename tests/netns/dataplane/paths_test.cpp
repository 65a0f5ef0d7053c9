// Unusual ways to connect: a black hole, giving up, MPTCP, TCP fast open, io_uring, all namespaces.
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "fixture.h"

namespace lb::test {
namespace {

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

class Paths : public DataplaneNetns {
 protected:
  int active() { return DataplaneNetns::active(kService, kBackend); }
  bool becomes(int count) {
    return eventually([&] { return active() == count; });
  }
  // 10.9.9.9 is on a link whose other end never answers: a neighbour entry makes the SYNs leave.
  static void make_black_hole() {
    ASSERT_EQ(
        std::system(
            "ip link add hole0 type veth peer name hole1 && ip addr add 10.9.9.1/24 dev hole0 "
            "&& ip link set hole0 up && ip link set hole1 up && "
            "ip neigh replace 10.9.9.9 lladdr 02:00:00:00:00:09 dev hole0 nud permanent"),
        0);
  }
};

TEST_F(Paths, BlackHoleIsSeenAtTheFirstRetransmissionAndWhenItTimesOut) {
  make_black_hole();
  publish(kService, {{"10.9.9.9:80"}});
  const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
  set_option(client, IPPROTO_TCP, TCP_USER_TIMEOUT, 1500);
  EXPECT_EQ(try_connect(client, kService), ETIMEDOUT);
  const auto seen = observe(kService, "10.9.9.9:80");
  EXPECT_EQ(seen->failed.timed_out, 1u);
  EXPECT_EQ(seen->active_connections, 0u);
  EXPECT_EQ(failures_of(ConnectFailure::Kind::SynRetransmitted), 1);
  EXPECT_EQ(failures_of(ConnectFailure::Kind::TimedOut), 1);
  EXPECT_EQ(failures_.back().error, ETIMEDOUT);
}

TEST_F(Paths, ClientThatGivesUpIsToldApart) {
  make_black_hole();
  publish(kService, {{"10.9.9.9:80"}});
  UniqueFd client = open_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(try_connect(client, kService), EINPROGRESS);
  EXPECT_EQ(try_connect(client, kService), EALREADY);
  EXPECT_EQ(DataplaneNetns::active(kService, "10.9.9.9:80"), 1);
  client.reset();
  EXPECT_EQ(DataplaneNetns::active(kService, "10.9.9.9:80"), 0);
  EXPECT_EQ(observe(kService, "10.9.9.9:80")->failed.gave_up, 1u);
  EXPECT_EQ(failures_of(ConnectFailure::Kind::GaveUp), 1);
}

// The hooks see the first subflow, which is a TCP socket like any other. getpeername() asks the MPTCP
// socket above it, which carries no mark: it shows the backend (documented in ARCHITECTURE).
TEST_F(Paths, MptcpIsSteeredAndCountedAndShowsTheBackend) {
  const Server server(kBackend, "hello");
  publish(kService, {{kBackend}});
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
  if (!fd) GTEST_SKIP() << "no MPTCP in this kernel";
  EXPECT_EQ(try_connect(fd, kService), 0);
  EXPECT_EQ(read_all_now(fd), "hello");
  EXPECT_EQ(active(), 1);
  EXPECT_EQ(peer_of(fd), kBackend);
  fd.reset();
  EXPECT_TRUE(becomes(0)) << active();
}

TEST_F(Paths, TcpFastOpenIsSteeredAndCountedOnce) {
  std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << "3";
  UniqueFd listener = listen_on(kBackend);
  set_option(listener, IPPROTO_TCP, TCP_FASTOPEN, 16);
  publish(kService, {{kBackend}});
  for (int round = 0; round < 3; ++round) {  // the first gets the cookie, the others use it
    UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
    const SocketName to = to_name(address(kService));
    ASSERT_EQ(::sendto(client.get(), "ping", 4, MSG_FASTOPEN, to.get(), to.length), 4);
    UniqueFd server(::accept(listener.get(), nullptr, nullptr));
    EXPECT_EQ(read_all_now(server), "ping");
    EXPECT_EQ(active(), 1);
    EXPECT_EQ(peer_of(client), kService);
    client.reset();
    server.reset();
    EXPECT_TRUE(becomes(0)) << active();
  }
  for (int round = 0; round < 2; ++round) {
    UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
    set_option(client, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    ASSERT_EQ(try_connect(client, kService), 0);
    ASSERT_EQ(::send(client.get(), "ping", 4, 0), 4);
    UniqueFd server(::accept(listener.get(), nullptr, nullptr));
    EXPECT_EQ(read_all_now(server), "ping");
    EXPECT_EQ(active(), 1);
    client.reset();
    server.reset();
    EXPECT_TRUE(becomes(0)) << active();
  }
}

TEST_F(Paths, IoUringConnectIsSteeredAndCounted) {
  io_uring ring{};
  if (::io_uring_queue_init(8, &ring, 0) != 0) GTEST_SKIP() << "no io_uring in this kernel";
  const Server server(kBackend, "hello");
  publish(kService, {{kBackend}});
  UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
  const SocketName to = to_name(address(kService));
  io_uring_prep_connect(::io_uring_get_sqe(&ring), client.get(), to.get(), to.length);
  ASSERT_EQ(::io_uring_submit(&ring), 1);
  io_uring_cqe* done = nullptr;
  ASSERT_EQ(::io_uring_wait_cqe(&ring, &done), 0);
  EXPECT_EQ(done->res, 0);
  io_uring_cqe_seen(&ring, done);
  EXPECT_EQ(read_all_now(client), "hello");
  EXPECT_EQ(peer_of(client), kService);
  EXPECT_EQ(active(), 1);
  ::io_uring_queue_exit(&ring);
  client.reset();
  EXPECT_TRUE(becomes(0));
}

TEST_F(Paths, ScopeAllServesAndRecountsOtherNamespaces) {
  ASSERT_EQ(
      std::system("ip link add out0 type veth peer name out1 && ip addr add 10.8.8.1/24 dev out0 "
                  "&& ip link set out0 up"),
      0);
  const Server server("10.8.8.1:7001", "hello");
  EbpfOptions everywhere;
  everywhere.host_scope = false;
  open(everywhere);
  publish(kService, {{"10.8.8.1:7001"}});

  // A process in a namespace of its own, connected to this one by a link, with an open connection.
  int ready[2], go[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a failing test must not leave it behind
    for (int fd = 3; fd < 1024; ++fd)    // among them the lock of the pin folder
      if (fd != ready[1] && fd != go[0]) ::close(fd);
    char byte = 'n';
    ::unshare(CLONE_NEWNET);
    bring_up_loopback();
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(go[0], &byte, 1);
    (void)!std::system("ip addr add 10.8.8.2/24 dev out1 && ip link set out1 up");
    const UniqueFd client = connect_to(kService);
    byte = client && peer_of(client) == kService ? 'y' : 'n';
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(go[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(std::system(("ip link set out1 netns " + std::to_string(child)).c_str()), 0);
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(DataplaneNetns::active(kService, "10.8.8.1:7001"), 1);
  open(everywhere);  // the recount must find the socket in the other namespace
  EXPECT_EQ(DataplaneNetns::active(kService, "10.8.8.1:7001"), 1);
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return DataplaneNetns::active(kService, "10.8.8.1:7001") == 0; }));
}

}  // namespace
}  // namespace lb::test
