#include "network.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include <fmt/format.h>

namespace lb::test {
namespace {

constexpr auto kPatience = timeval{.tv_sec = 2, .tv_usec = 0};

// An interface's own IPv6 address is of use at once.
const Command kNoDad{"sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"};

void be_patient(const UniqueFd& fd) {
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
}

std::string read_greeting(const UniqueFd& fd) {
  std::array<char, 64> text{};
  const auto size = ::recv(fd.get(), text.data(), text.size(), 0);
  if (size < 0) return fmt::format("errno {}", errno == EAGAIN ? ETIMEDOUT : errno);
  return {text.data(), static_cast<std::size_t>(size)};
}

UniqueFd dial(const std::string& to, int type) {
  UniqueFd fd = open_socket(address(to).ip.is_v4() ? AF_INET : AF_INET6, type);
  be_patient(fd);
  const int error = try_connect(fd, to);
  if (error == 0) return fd;
  errno = error == EINPROGRESS ? ETIMEDOUT : error;
  return {};
}

}  // namespace

void inside(const NetNamespace& net, const std::function<void()>& what) {
  std::exception_ptr failed;
  std::thread([&] {
    try {
      const UniqueFd ns(::open(net.path().c_str(), O_RDONLY | O_CLOEXEC));
      if (::setns(ns.get(), CLONE_NEWNET) != 0) throw std::runtime_error("setns");
      what();
    } catch (...) {
      failed = std::current_exception();
    }
  }).join();
  if (failed) std::rethrow_exception(failed);
}

UdpServer::UdpServer(std::string_view at, std::string name) : socket_(bind_udp(at)) {
  const timeval tick{.tv_sec = 0, .tv_usec = 50'000};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
  thread_ = std::thread([this, name = std::move(name)] {
    while (!stop_) {
      SocketName from;
      from.length = sizeof from.storage;
      std::array<char, 64> text{};
      if (::recvfrom(socket_.get(), text.data(), text.size(), 0, from.get(), &from.length) < 0)
        continue;
      ::sendto(socket_.get(), name.data(), name.size(), 0, from.get(), from.length);
    }
  });
}

UdpServer::~UdpServer() {
  stop_ = true;
  thread_.join();
}

void PublishTest::SetUp() {
  if (const auto why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
  sandbox_ = std::make_unique<Sandbox>();
  for (const char* bridge : {"br0", "br1"}) {
    wire_.run({"ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0"});
    wire_.run({"ip", "link", "set", bridge, "up"});
  }
  run_or_throw(kNoDad);
  for (const auto& [name, bridge, v4, v6] :
       {std::tuple{"lb0", "br0", "10.80.0.1", "fd80::1"}, {"lb1", "br1", "10.81.0.1", "fd81::1"}}) {
    run_or_throw(
        {"ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", wire_.path()});
    wire_.run({"ip", "link", "set", name, "master", bridge, "up"});
    run_or_throw({"ip", "address", "add", std::string(v4) + "/24", "dev", name});
    run_or_throw({"ip", "address", "add", std::string(v6) + "/64", "dev", name, "nodad"});
    run_or_throw({"ip", "link", "set", name, "up"});
  }
  plug(client_, "client", "br0", "10.80.0.100", "fd80::100");
  plug(b1_, "b1", "br0", "10.80.0.11", "fd80::11");
  plug(b2_, "b2", "br0", "10.80.0.12", "fd80::12");
  plug(b3_, "b3", "br1", "10.81.0.13", "fd81::13");
  auto tables = open_nft_dataplane(options());
  if (!tables) GTEST_SKIP() << tables.error().message();
}

void PublishTest::TearDown() {
  dataplane_.reset();
  servers_.clear();
  udp_servers_.clear();
}

void PublishTest::plug(const NetNamespace& net, const std::string& port, const std::string& bridge,
                       const std::string& v4, const std::string& v6) {
  wire_.run(
      {"ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", net.path()});
  wire_.run({"ip", "link", "set", port, "master", bridge, "up"});
  net.run({"ip", "address", "add", v4 + "/24", "dev", "eth0"});
  net.run({"ip", "address", "add", v6 + "/64", "dev", "eth0", "nodad"});
  net.run({"ip", "link", "set", "eth0", "up"});
}

void PublishTest::serve(const NetNamespace& net, const std::string& at, const std::string& name) {
  inside(net, [&] { servers_.push_back(std::make_unique<Server>(at, name)); });
}

void PublishTest::serve_udp(const NetNamespace& net, const std::string& at,
                            const std::string& name) {
  inside(net, [&] { udp_servers_.push_back(std::make_unique<UdpServer>(at, name)); });
}

std::string PublishTest::ask_from(const NetNamespace& net, const std::string& to) {
  std::string answer;
  inside(net, [&] {
    const UniqueFd fd = dial(to, SOCK_STREAM);
    answer = fd ? read_greeting(fd) : fmt::format("errno {}", errno);
  });
  return answer;
}

std::string PublishTest::ask_udp(const std::string& to, int from_port) {
  std::string answer;
  inside(client_, [&] {
    const bool v4 = address(to).ip.is_v4();
    const UniqueFd fd =
        bind_udp(fmt::format("{}:{}", v4 ? "10.80.0.100" : "[fd80::100]", from_port));
    be_patient(fd);
    if (const int error = try_connect(fd, to); error != 0) {
      answer = fmt::format("errno {}", error);
      return;
    }
    if (::send(fd.get(), "?", 1, 0) != 1)
      answer = fmt::format("errno {}", errno);
    else
      answer = read_greeting(fd);
  });
  return answer;
}

UniqueFd PublishTest::connect(const std::string& to) {
  UniqueFd out;
  inside(client_, [&] { out = dial(to, SOCK_STREAM); });
  return out;
}

void PublishTest::open() {
  dataplane_.reset();
  auto opened = open_nft_dataplane(options());
  if (!opened) throw std::runtime_error(opened.error().message());
  dataplane_ = *std::move(opened);
}

// On all of the host's addresses where the key says so, as the reconciler would have it.
ProgrammedService PublishTest::service(std::string_view key,
                                       std::vector<ProgrammedBackend> backends, Balance balance) {
  ProgrammedService out;
  out.key = ServiceKey::parse(key).value();
  out.balance = balance;
  out.backends = std::move(backends);
  std::sort(out.backends.begin(), out.backends.end());
  if (!out.key.address.is_unspecified()) {
    out.addresses = {out.key.address};
    return out;
  }
  const bool v6 = !out.key.address.is_v4();
  for (const char* text : {"127.0.0.1", "10.80.0.1", "10.81.0.1", "::1", "fd80::1", "fd81::1"}) {
    const IpAddress ip = IpAddress::parse(text).value();
    if (ip.is_v4() || v6 || ip.is_loopback()) out.addresses.push_back(ip);
  }
  std::sort(out.addresses.begin(), out.addresses.end());
  return out;
}

void PublishTest::program(const ProgrammedService& service) {
  const auto done = dataplane_->upsert(service);
  ASSERT_TRUE(done) << done.error().message();
}

ObservedBackend PublishTest::observed(std::string_view key, std::string_view at) {
  const auto seen = dataplane_->read(ServiceKey::parse(key).value());
  if (!seen) return {};
  for (const ObservedBackend& b : seen->backends)
    if (b.address == address(at)) return b;
  return {};
}

}  // namespace lb::test
