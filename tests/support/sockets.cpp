#include "support/sockets.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "support/patience.h"

namespace lb::test {

Address address(std::string_view text) {
  const auto parsed = Address::parse(text);
  if (!parsed) throw std::invalid_argument(parsed.error().message());
  return *parsed;
}

SocketName to_name(const Address& address, int family) {
  SocketName out;
  if (family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, address.ip.bytes().data() + 12, 4);
    out.length = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    std::memcpy(&in.sin6_addr, address.ip.bytes().data(), 16);
    out.length = sizeof in;
  }
  return out;
}

SocketName to_name(const Address& address) {
  return to_name(address, address.ip.is_v4() ? AF_INET : AF_INET6);
}

Address from_name(const SocketName& name) {
  if (name.storage.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(name.storage);
    return {IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  const auto& in = reinterpret_cast<const sockaddr_in6&>(name.storage);
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
  return {IpAddress::v6(bytes), ntohs(in.sin6_port)};
}

UniqueFd open_socket(int family, int type, int protocol) {
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, protocol));
  if (!fd) throw std::system_error(errno, std::generic_category(), "socket");
  return fd;
}

void set_option(const UniqueFd& fd, int level, int option, int value) {
  if (::setsockopt(fd.get(), level, option, &value, sizeof value) != 0)
    throw std::system_error(errno, std::generic_category(), "setsockopt");
}

namespace {
UniqueFd bound(std::string_view at, int type) {
  const SocketName name = to_name(address(at));
  UniqueFd fd = open_socket(name.storage.ss_family, type);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (name.storage.ss_family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(fd.get(), name.get(), name.length) != 0)
    throw std::system_error(errno, std::generic_category(), fmt::format("bind {}", at));
  return fd;
}
}  // namespace

UniqueFd listen_on(std::string_view at, int backlog) {
  UniqueFd fd = bound(at, SOCK_STREAM);
  if (::listen(fd.get(), backlog) != 0)
    throw std::system_error(errno, std::generic_category(), fmt::format("listen {}", at));
  return fd;
}

UniqueFd bind_udp(std::string_view at) { return bound(at, SOCK_DGRAM); }

int try_connect(const UniqueFd& fd, std::string_view to) {
  int family = 0;
  socklen_t length = sizeof family;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &family, &length);
  const SocketName name = to_name(address(to), family);
  return ::connect(fd.get(), name.get(), name.length) == 0 ? 0 : errno;
}

UniqueFd connect_to(std::string_view to) {
  UniqueFd fd = open_socket(address(to).ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM);
  const int err = try_connect(fd, to);
  if (err == 0) return fd;
  errno = err;
  return {};
}

std::string peer_of(const UniqueFd& fd) {
  SocketName name;
  name.length = sizeof name.storage;
  if (::getpeername(fd.get(), name.get(), &name.length) != 0) return fmt::format("errno {}", errno);
  return from_name(name).to_string();
}

Server::Server(std::string_view at, std::string greeting)
    : listener_(listen_on(at)), stop_(::eventfd(0, EFD_CLOEXEC)), greeting_(std::move(greeting)) {
  thread_ = std::thread([this] { run(); });
}

Server::~Server() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void Server::run() {
  const UniqueFd poll(::epoll_create1(EPOLL_CLOEXEC));
  std::map<int, UniqueFd> clients;
  const auto watch = [&](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener_.get());
  watch(stop_.get());
  std::array<epoll_event, 64> events;
  for (;;) {
    const int n = ::epoll_wait(poll.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events.at(static_cast<std::size_t>(i)).data.fd;
      if (fd == stop_.get()) return;
      if (fd == listener_.get()) {
        UniqueFd client(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
        if (!client) continue;
        ++accepted_;
        (void)!::send(client.get(), greeting_.data(), greeting_.size(), MSG_NOSIGNAL);
        watch(client.get());
        const int key = client.get();
        clients[key] = std::move(client);
        continue;
      }
      char buffer[4096];
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got > 0 || (got < 0 && errno == EAGAIN)) continue;
      // Not by close() alone: a child between fork and exec still has the socket open, and the epoll
      // would go on to report it under a number that is somebody else's by then.
      ::epoll_ctl(poll.get(), EPOLL_CTL_DEL, fd, nullptr);
      clients.erase(fd);
    }
  }
}

std::string read_all_now(const UniqueFd& fd) {
  char buffer[64];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
}

std::string ask(std::string_view to) {
  const UniqueFd fd = connect_to(to);
  if (!fd) return fmt::format("errno {}", errno);
  return read_all_now(fd);
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + patient(limit);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace lb::test
