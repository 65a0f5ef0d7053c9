// Sockets of the load generator: owned descriptors, addresses, epoll. IPv4 and IPv6 literals only;
// nothing here knows about modes or statistics.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace lb::bench {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// "127.0.0.1:80" or "[::1]:80"; throws std::invalid_argument.
Address parse_address(const std::string& text);

// Non-blocking, SO_REUSEADDR; throws std::system_error: a server that cannot listen is useless.
UniqueFd listen_on(const Address& address);

// Starts a non-blocking connect. Returns 0 or the errno; EINPROGRESS counts as 0.
int start_connect(const Address& address, UniqueFd& out);

// Blocking connect with all failures returned as errno; the socket is non-blocking afterwards.
int connect_now(const Address& address, UniqueFd& out);

class Epoll {
 public:
  Epoll();
  void add(int fd, std::uint32_t events, std::uint64_t data);
  void modify(int fd, std::uint32_t events, std::uint64_t data);
  // Waits; an interrupted wait is an empty span. A timeout of -1 is none.
  std::span<epoll_event> wait(int timeout_ms);

 private:
  static constexpr int kBatch = 256;
  UniqueFd fd_;
  epoll_event events_[kBatch];
};

// Throws if the CPU does not exist or is not allowed.
void pin_to_cpu(int cpu);

}  // namespace lb::bench
