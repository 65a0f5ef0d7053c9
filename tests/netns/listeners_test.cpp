// What sock_diag and rtnetlink say about real sockets and addresses of a namespace of its own.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "base/unique_fd.h"
#include "reconcile/listeners.h"
#include "reconcile/local_addresses.h"
#include "reconcile/process_names.h"
#include "support/desired_builder.h"
#include "support/patience.h"

namespace lb {
namespace {

using testing::Contains;
using testing::Not;

// This process leaves its namespace for good: RUN_SERIAL and one process per test allow that.
bool enter_own_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq up{};
  std::strcpy(up.ifr_name, "lo");
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(fd.get(), SIOCSIFFLAGS, &up) == 0;
}

sockaddr_storage to_sockaddr(const Address& address, socklen_t& length, bool as_v6) {
  sockaddr_storage storage{};
  if (address.ip.is_v4() && !as_v6) {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, address.ip.bytes().data() + 12, 4);
    length = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    std::memcpy(&in.sin6_addr, address.ip.bytes().data(), 16);
    length = sizeof in;
  }
  return storage;
}

class ListenersNetns : public testing::Test {
 protected:
  void SetUp() override {
    if (!enter_own_namespace()) GTEST_SKIP() << "needs CAP_SYS_ADMIN for a network namespace";
  }

  // Binds and, for TCP, listens.
  UniqueFd open(std::string_view at, bool v6only = false, bool as_v6 = false) {
    const ServiceKey k = key(at);
    const Address address{k.address, k.port};
    socklen_t length = 0;
    const sockaddr_storage name = to_sockaddr(address, length, as_v6);
    const bool tcp = k.protocol == Protocol::Tcp;
    UniqueFd fd(::socket(name.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
    const int on = 1;
    const int only = v6only ? 1 : 0;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (name.ss_family == AF_INET6)
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), length), 0)
        << at << ": " << std::strerror(errno);
    if (tcp) {
      EXPECT_EQ(::listen(fd.get(), 1024), 0);
    }
    return fd;
  }
  static UniqueFd connect_to(std::string_view at) {
    const ServiceKey k = key(at);
    socklen_t length = 0;
    const sockaddr_storage name = to_sockaddr({k.address, k.port}, length, false);
    const int type = k.protocol == Protocol::Tcp ? SOCK_STREAM : SOCK_DGRAM;
    UniqueFd fd(::socket(name.ss_family, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), length), 0)
        << std::strerror(errno);
    return fd;
  }
  static std::vector<Listener> read() {
    const auto found = read_listeners();
    EXPECT_TRUE(found) << found.error().message();
    return found.value_or(std::vector<Listener>{});
  }
  static std::optional<Listener> at(std::string_view where) {
    const ServiceKey k = key(where);
    for (const Listener& l : read())
      if (l.protocol == k.protocol && l.port == k.port && l.address == k.address) return l;
    return std::nullopt;
  }
};

TEST_F(ListenersNetns, FindsListenersOfBothFamiliesAndProtocols) {
  const UniqueFd a = open("127.0.0.1:8001");
  const UniqueFd b = open("0.0.0.0:8002");
  const UniqueFd c = open("[::1]:8003");
  const UniqueFd d = open("udp://127.0.0.1:8004");
  const UniqueFd e = open("udp://[::]:8005");
  EXPECT_EQ(read().size(), 5U);
  EXPECT_TRUE(at("127.0.0.1:8001"));
  EXPECT_TRUE(at("0.0.0.0:8002"));
  EXPECT_TRUE(at("[::1]:8003"));
  EXPECT_TRUE(at("udp://127.0.0.1:8004"));
  EXPECT_TRUE(at("udp://[::]:8005"));
}

TEST_F(ListenersNetns, KnowsV6OnlyFromDualStack) {
  const UniqueFd only = open("[::]:8001", true);
  const UniqueFd dual = open("[::]:8002", false);
  EXPECT_TRUE(at("[::]:8001")->v6only);
  EXPECT_FALSE(at("[::]:8002")->v6only);
}

TEST_F(ListenersNetns, MappedListenerIsItsIPv4Address) {
  const UniqueFd mapped = open("127.0.0.1:8001", false, true);
  EXPECT_TRUE(at("127.0.0.1:8001"));
}

TEST_F(ListenersNetns, ConnectionsAreNoListeners) {
  const UniqueFd server = open("127.0.0.1:8001");
  const UniqueFd udp_server = open("udp://127.0.0.1:8002");
  const UniqueFd client = connect_to("127.0.0.1:8001");
  const UniqueFd udp_client = connect_to("udp://127.0.0.1:8002");
  EXPECT_EQ(read().size(), 2U);
}

TEST_F(ListenersNetns, ClosedListenerIsGoneAtOnce) {
  UniqueFd server = open("127.0.0.1:8001");
  EXPECT_TRUE(at("127.0.0.1:8001"));
  server.reset();
  EXPECT_FALSE(at("127.0.0.1:8001"));
}

TEST_F(ListenersNetns, NamesTheProcess) {
  const UniqueFd server = open("127.0.0.1:8001");
  const Listener listener = at("127.0.0.1:8001").value();
  EXPECT_EQ(listener.uid, ::getuid());
  const SocketNames found =
      find_processes("/proc", {{listener.inode, listener.uid}}, std::chrono::hours(1));
  EXPECT_EQ(found.at(listener.inode), std::string(program_invocation_short_name).substr(0, 15) +
                                          " (pid " + std::to_string(::getpid()) + ") of " +
                                          name_user(::getuid()));
}

// More than one datagram of the dump, and connections that must cost nothing.
TEST_F(ListenersNetns, ReadsThousandsOfListenersAmongThousandsOfConnections) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 4'200) GTEST_SKIP() << "needs 4,200 descriptors";
  std::vector<UniqueFd> fds;
  for (int port = 10'000; port < 12'000; ++port)
    fds.push_back(open("127.0.0.1:" + std::to_string(port)));
  for (int i = 0; i < 2'000; ++i)
    fds.push_back(connect_to("127.0.0.1:" + std::to_string(10'000 + i % 2'000)));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read().size(), 2'000U);
  const auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty(
      "microseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  EXPECT_LT(took, test::promised(std::chrono::milliseconds(500)));
}

TEST_F(ListenersNetns, LocalAddressesAreThoseOfTheNamespace) {
  const auto addresses = read_local_addresses();
  ASSERT_TRUE(addresses) << addresses.error().message();
  EXPECT_THAT(*addresses, Contains(ip("127.0.0.1")));
  EXPECT_THAT(*addresses, Contains(ip("::1")));
  EXPECT_EQ(addresses->size(), 2U);
}

// ifreq's address of lo:1 is a second address of the loopback interface.
void add_address(const char* label, std::string_view address) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, label);
  socklen_t length = 0;
  const sockaddr_storage name = to_sockaddr({ip(address), 0}, length, false);
  std::memcpy(&request.ifr_addr, &name, sizeof request.ifr_addr);
  EXPECT_EQ(::ioctl(fd.get(), SIOCSIFADDR, &request), 0) << std::strerror(errno);
}

class Following {
 public:
  // Until `enough`, which is asked after each report and every few milliseconds.
  void run(const std::function<void()>& reported, const std::function<bool()>& enough) {
    asio::co_spawn(io_, addresses_.follow([&, reported](std::vector<IpAddress> addresses) {
      seen_.push_back(std::move(addresses));
      if (reported) reported();
    }),
                   asio::detached);
    go_on(enough);
  }
  void go_on(const std::function<bool()>& enough) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!enough() && std::chrono::steady_clock::now() < end)
      io_.run_one_for(std::chrono::milliseconds(20));
  }
  [[nodiscard]] const auto& seen() const { return seen_; }
  [[nodiscard]] const std::string& problem() const { return addresses_.problem(); }
  [[nodiscard]] bool has(std::string_view address) const {
    return !seen_.empty() &&
           std::find(seen_.back().begin(), seen_.back().end(), ip(address)) != seen_.back().end();
  }

 private:
  asio::io_context io_;
  LocalAddresses addresses_{io_.get_executor()};
  std::vector<std::vector<IpAddress>> seen_;
};

TEST_F(ListenersNetns, NewAddressIsReported) {
  Following following;
  following.run(
      [&] {
        if (following.seen().size() == 1) add_address("lo:1", "10.1.2.3");
      },
      [&] { return following.has("10.1.2.3"); });
  ASSERT_GE(following.seen().size(), 2U);
  EXPECT_THAT(following.seen().front(), Not(Contains(ip("10.1.2.3"))));
  EXPECT_THAT(following.seen().back(), Contains(ip("10.1.2.3")));
}

// No new descriptor, no netlink socket: as if the kernel refused one.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(ListenersNetns, AddressesAreFollowedAgainAfterTheyCouldNotBeRead) {
  Following following;
  std::optional<NoMoreDescriptors> refused;
  following.run({}, [&] { return !following.seen().empty(); });
  add_address("lo:1", "10.1.2.3");
  refused.emplace();
  following.go_on([&] { return !following.problem().empty(); });
  EXPECT_NE(following.problem(), "");
  EXPECT_FALSE(following.has("10.1.2.3"));
  refused.reset();
  following.go_on([&] { return following.has("10.1.2.3"); });
  EXPECT_TRUE(following.has("10.1.2.3")) << "what came meanwhile";
  EXPECT_EQ(following.problem(), "");
  add_address("lo:2", "10.1.2.4");
  following.go_on([&] { return following.has("10.1.2.4"); });
  EXPECT_TRUE(following.has("10.1.2.4")) << "what comes later";
}

}  // namespace
}  // namespace lb
