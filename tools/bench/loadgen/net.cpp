#include "net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <system_error>

namespace lb::bench {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// A proxy's and our own Nagle delays would be measured instead of the path.
void set_nodelay(int fd) {
  const int one = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int open_stream(const Address& address, int flags, UniqueFd& out) {
  out = UniqueFd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  return out.valid() ? 0 : errno;
}

int connect_fd(const Address& address, int fd) {
  const auto* target = reinterpret_cast<const sockaddr*>(&address.storage);
  return ::connect(fd, target, address.length) == 0 ? 0 : errno;
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Address parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw std::invalid_argument(text + ": expected ADDRESS:PORT");
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
  if (parsed.ec != std::errc{} || parsed.ptr != end) {
    throw std::invalid_argument(text + ": not a port number");
  }
  std::string host = text.substr(0, colon);
  Address result;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    auto& in6 = reinterpret_cast<sockaddr_in6&>(result.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    result.length = sizeof in6;
    if (::inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) == 1) return result;
  } else {
    auto& in4 = reinterpret_cast<sockaddr_in&>(result.storage);
    in4.sin_family = AF_INET;
    in4.sin_port = htons(port);
    result.length = sizeof in4;
    if (::inet_pton(AF_INET, host.c_str(), &in4.sin_addr) == 1) return result;
  }
  throw std::invalid_argument(text + ": not an IP address");
}

UniqueFd listen_on(const Address& address) {
  UniqueFd fd;
  if (open_stream(address, SOCK_NONBLOCK, fd) != 0) fail("socket");
  const int one = 1;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  set_nodelay(fd.get());  // inherited by accepted sockets: one system call less per connection
  const auto* local = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::bind(fd.get(), local, address.length) != 0) fail("bind");
  if (::listen(fd.get(), SOMAXCONN * 2) != 0) fail("listen");
  return fd;
}

int start_connect(const Address& address, UniqueFd& out) {
  if (const int error = open_stream(address, SOCK_NONBLOCK, out); error != 0) return error;
  const int error = connect_fd(address, out.get());
  return error == EINPROGRESS ? 0 : error;
}

int connect_now(const Address& address, UniqueFd& out) {
  if (const int error = open_stream(address, 0, out); error != 0) return error;
  if (const int error = connect_fd(address, out.get()); error != 0) return error;
  set_nodelay(out.get());
  const int flags = ::fcntl(out.get(), F_GETFL);
  return ::fcntl(out.get(), F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : errno;
}

Epoll::Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!fd_.valid()) fail("epoll_create1");
}

void Epoll::add(int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{.events = events, .data = {.u64 = data}};
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl add");
}

void Epoll::modify(int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{.events = events, .data = {.u64 = data}};
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) != 0) fail("epoll_ctl mod");
}

std::span<epoll_event> Epoll::wait(int timeout_ms) {
  const int count = ::epoll_wait(fd_.get(), events_, kBatch, timeout_ms);
  if (count < 0 && errno != EINTR) fail("epoll_wait");
  return {events_, static_cast<std::size_t>(count < 0 ? 0 : count)};
}

void pin_to_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) fail("pin to CPU " + std::to_string(cpu));
}

}  // namespace lb::bench
