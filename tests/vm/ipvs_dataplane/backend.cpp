#include "vm/ipvs_dataplane/backend.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include <fmt/format.h>

#include "support/sockets.h"

namespace lb::test {
namespace {

constexpr std::size_t kEchoed = 64;

std::string failure() {
  if (errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT) return "timeout";
  return fmt::format("errno {}", errno);
}

void limit_time(const UniqueFd& fd, std::chrono::milliseconds limit) {
  const timeval time{limit.count() / 1000, limit.count() % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

UniqueFd client_socket(std::string_view to, int type, const Asking& how) {
  UniqueFd fd = open_socket(address(to).ip.is_v4() ? AF_INET : AF_INET6, type);
  limit_time(fd, how.limit);
  if (how.bind_to.empty()) return fd;
  const SocketName name = to_name(Address{*IpAddress::parse(how.bind_to), how.bind_port});
  if (::bind(fd.get(), name.get(), name.length) != 0)
    throw std::system_error(errno, std::generic_category(), "bind to " + how.bind_to);
  return fd;
}

// Up to the newline, which every answer ends with.
std::string read_line(const UniqueFd& fd) {
  std::string line;
  for (char byte = 0;;) {
    const ssize_t n = ::recv(fd.get(), &byte, 1, 0);
    if (n < 0) return failure();
    if (n == 0) return line + "(closed)";
    if (byte == '\n') return line;
    line += byte;
  }
}

// Closing will send a reset.
void reset_at_close(const UniqueFd& fd) {
  const linger at_once{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::optional<SocketName> name_of(const UniqueFd& fd) {
  SocketName name;
  name.length = sizeof name.storage;
  if (::getsockname(fd.get(), name.get(), &name.length) != 0) return std::nullopt;
  return name;
}

std::string name_of_peer(const SocketName& name) { return from_name(name).ip.to_string(); }

}  // namespace

Backend::Backend(std::string name, const std::vector<std::string>& at)
    : name_(std::move(name)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  for (const std::string& address : at) {
    listeners_.push_back(listen_on(address));
    datagrams_.push_back(bind_udp(address));
  }
  thread_ = std::thread([this] { run(); });
}

Backend::~Backend() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void Backend::run() {
  for (;;) {
    std::vector<pollfd> polls{{stop_.get(), POLLIN, 0}};
    for (const auto* sockets : {&listeners_, &datagrams_})
      for (const UniqueFd& fd : *sockets) polls.push_back({fd.get(), POLLIN, 0});
    for (const auto& [fd, client] : clients_) polls.push_back({fd, POLLIN, 0});
    ::poll(polls.data(), polls.size(), -1);
    if (polls.front().revents != 0) return;
    std::size_t i = 1;
    for (const UniqueFd& fd : listeners_)
      if (polls.at(i++).revents != 0) accept_one(fd);
    for (const UniqueFd& fd : datagrams_)
      if (polls.at(i++).revents != 0) answer_datagram(fd);
    for (; i < polls.size(); ++i)
      if (polls.at(i).revents != 0 && !serve(clients_.at(polls.at(i).fd)))
        clients_.erase(polls.at(i).fd);
  }
}

void Backend::accept_one(const UniqueFd& listener) {
  SocketName name;
  name.length = sizeof name.storage;
  UniqueFd fd(::accept4(listener.get(), name.get(), &name.length, SOCK_CLOEXEC));
  if (!fd) return;
  const std::string greeting = fmt::format("{} {}\n", name_, name_of_peer(name));
  (void)!::send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
  const int key = fd.get();
  clients_[key].fd = std::move(fd);
}

bool Backend::serve(Client& client) {
  std::array<char, 65536> buffer;
  const ssize_t n = ::recv(client.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN;
  std::string_view answer(buffer.data(), static_cast<std::size_t>(n));
  if (answer == "reset\n") {
    reset_at_close(client.fd);
    return false;
  }
  client.bytes += answer.size();
  const std::string total = fmt::format("{} bytes\n", client.bytes);
  if (n == 0) answer = total;
  if (answer.size() <= kEchoed)
    (void)!::send(client.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n > 0;
}

void Backend::answer_datagram(const UniqueFd& socket) {
  SocketName name;
  name.length = sizeof name.storage;
  std::array<char, 2048> buffer;
  if (::recvfrom(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT, name.get(),
                 &name.length) < 0)
    return;
  const std::string answer = fmt::format("{} {}\n", name_, name_of_peer(name));
  ::sendto(socket.get(), answer.data(), answer.size(), 0, name.get(), name.length);
}

std::string ask_tcp(std::string_view to, const Asking& how) { return Held(to, how).greeting(); }

std::string ask_udp(std::string_view to, const Asking& how) {
  const UniqueFd fd = client_socket(to, SOCK_DGRAM, how);
  if (try_connect(fd, to) != 0) return failure();
  // Where the refusal is made on this host already, send() fails by EPERM, and the next call tells it.
  if (::send(fd.get(), "x", 1, 0) != 1 && errno != EPERM) return failure();
  std::array<char, 256> buffer;
  const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n) - 1) : failure();
}

std::string ask_udp_unconnected(std::string_view to, const Asking& how) {
  const UniqueFd fd = client_socket(to, SOCK_DGRAM, how);
  const SocketName name = to_name(address(to));
  if (::sendto(fd.get(), "x", 1, 0, name.get(), name.length) != 1) return failure();
  SocketName from;
  from.length = sizeof from.storage;
  std::array<char, 256> buffer;
  const ssize_t n = ::recvfrom(fd.get(), buffer.data(), buffer.size(), 0, from.get(), &from.length);
  if (n <= 0) return failure();
  std::string answer(buffer.data(), static_cast<std::size_t>(n) - 1);
  if (from_name(from) != address(to)) answer += " by " + from_name(from).to_string();
  return answer;
}

Answers ask_times(int times, std::string_view to, Ask ask, const Asking& how) {
  Answers answers;
  for (int i = 0; i < times; ++i) ++answers[ask(to, how)];
  return answers;
}

Answers ask_from(const NetNamespace& net, int times, std::string_view to, Ask ask,
                 const Asking& how) {
  Answers answers;
  inside(net, [&] { answers = ask_times(times, to, ask, how); });
  return answers;
}

Held::Held(std::string_view to, const Asking& how) : fd_(client_socket(to, SOCK_STREAM, how)) {
  const int err = try_connect(fd_, to);
  errno = err;
  greeting_ = err == 0 ? read_line(fd_) : failure();
}

std::string Held::peer() const { return peer_of(fd_); }

std::string Held::local() const {
  const auto name = name_of(fd_);
  return name ? from_name(*name).ip.to_string() : failure();
}

Port Held::port() const {
  const auto name = name_of(fd_);
  return name ? from_name(*name).port : Port{0};
}

bool Held::alive(std::chrono::milliseconds limit) const {
  limit_time(fd_, limit);
  return ::send(fd_.get(), "alive?\n", 7, MSG_NOSIGNAL) == 7 && read_line(fd_) == "alive?";
}

std::string Held::send_bytes(std::size_t count) {
  const std::string block(16384, 'x');
  while (count > 0) {
    const ssize_t n = ::send(fd_.get(), block.data(), std::min(count, block.size()), MSG_NOSIGNAL);
    if (n <= 0) return failure();
    count -= static_cast<std::size_t>(n);
  }
  ::shutdown(fd_.get(), SHUT_WR);
  // Pieces that arrived small have been sent back.
  for (;;) {
    std::string line = read_line(fd_);
    if (const auto at = line.find_first_not_of('x'); at != std::string::npos)
      return line.substr(at);
  }
}

void Held::reset() {
  (void)!::send(fd_.get(), "reset\n", 6, MSG_NOSIGNAL);
  char byte = 0;
  (void)!::recv(fd_.get(), &byte, 1, 0);
  fd_.reset();
}

void Held::abort() {
  reset_at_close(fd_);
  fd_.reset();
}

}  // namespace lb::test
