// `serve`: all ports in one epoll thread, one kind of answer. Connections are indexed by their
// descriptor: no allocation per connection once the table has grown.
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "modes.h"

namespace lb::bench {
namespace {

struct Connection {
  UniqueFd fd;
  std::uint64_t received = 0;
  std::vector<char> pending;  // echo: bytes that did not fit into the socket yet
};

class Server {
 public:
  explicit Server(const Options& options) : kind_(options.kind), buffer_(kBulkChunk, 'x') {
    for (const Address& address : options.listen) {
      UniqueFd fd = listen_on(address);
      epoll_.add(fd.get(), EPOLLIN, kListener | static_cast<std::uint64_t>(fd.get()));
      listeners_.push_back(std::move(fd));
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      for (const epoll_event& event : epoll_.wait(-1)) {
        const int fd = static_cast<int>(event.data.u64 & ~kListener);
        if ((event.data.u64 & kListener) != 0) {
          accept_all(fd);
        } else {
          on_event(connections_[static_cast<std::size_t>(fd)]);
        }
      }
    }
  }

 private:
  static constexpr std::uint64_t kListener = std::uint64_t{1} << 63;

  void accept_all(int listener) {
    for (;;) {
      UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) return;  // EAGAIN, or a connection that died in the queue: nothing to do
      const auto index = static_cast<std::size_t>(fd.get());
      if (index >= connections_.size()) connections_.resize(index * 2 + 64);
      epoll_.add(fd.get(), kind_ == ServerKind::Source ? EPOLLOUT : EPOLLIN, index);
      Connection& connection = connections_[index];
      connection.fd = std::move(fd);
      connection.received = 0;
      connection.pending.clear();
    }
  }

  void on_event(Connection& connection) {
    if (!connection.fd.valid()) return;
    switch (kind_) {
      case ServerKind::Reply:
        return reply(connection);
      case ServerKind::Echo:
        return echo(connection);
      case ServerKind::Sink:
        return sink(connection);
      case ServerKind::Source:
        return source(connection);
    }
  }

  // The bytes read, or 0 when there is nothing to do now; closes at the end of file and on errors.
  std::size_t receive(Connection& connection) {
    const ssize_t n = ::recv(connection.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n > 0) return static_cast<std::size_t>(n);
    if (n == 0 || errno != EAGAIN) connection.fd.reset();
    return 0;
  }

  void reply(Connection& connection) {
    const std::uint64_t before = connection.received / kMessageSize;
    connection.received += receive(connection);
    const std::uint64_t due = connection.received / kMessageSize - before;
    for (std::uint64_t i = 0; i < due; ++i) {
      if (::send(connection.fd.get(), buffer_.data(), kMessageSize, MSG_NOSIGNAL) < 0) {
        return connection.fd.reset();
      }
    }
  }

  void echo(Connection& connection) {
    if (!connection.pending.empty()) return flush(connection);
    const std::size_t n = receive(connection);
    if (n == 0) return;
    connection.pending.assign(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(n));
    flush(connection);
  }

  void flush(Connection& connection) {
    auto& pending = connection.pending;
    const int fd = connection.fd.get();
    const ssize_t n = ::send(fd, pending.data(), pending.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return connection.fd.reset();
    if (n > 0) pending.erase(pending.begin(), pending.begin() + n);
    epoll_.modify(fd, pending.empty() ? EPOLLIN : EPOLLOUT, static_cast<std::uint64_t>(fd));
  }

  void sink(Connection& connection) {
    const ssize_t n = ::recv(connection.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n > 0) {
      connection.received += static_cast<std::uint64_t>(n);
      return;
    }
    if (n < 0 && errno == EAGAIN) return;
    if (n == 0) {
      const std::uint64_t count = connection.received;
      (void)::send(connection.fd.get(), &count, sizeof count, MSG_NOSIGNAL);
    }
    connection.fd.reset();
  }

  void source(Connection& connection) {
    const ssize_t n = ::send(connection.fd.get(), buffer_.data(), buffer_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) connection.fd.reset();
  }

  const ServerKind kind_;
  Epoll epoll_;
  std::vector<UniqueFd> listeners_;
  std::vector<Connection> connections_;
  std::vector<char> buffer_;
};

}  // namespace

void run_server(const Options& options) {
  Server server(options);
  std::puts("ready");
  std::fflush(stdout);
  server.run();
}

}  // namespace lb::bench
