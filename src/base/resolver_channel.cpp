#include "base/resolver_channel.h"

#include <netinet/in.h>

#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/direct_socket.h"

namespace lb {
namespace {

// c-ares doubles it for the second try: nine seconds for one server that is silent.
constexpr int kTimeoutMs = 3'000;
constexpr int kTries = 2;

struct Waiting {
  ResolverChannel::Done done;
  std::size_t& asked;
};

struct stat read_stamp() {
  struct stat info {};
  if (::stat("/etc/resolv.conf", &info) != 0) info = {};
  return info;
}

auto identity(const struct stat& s) {
  return std::make_tuple(s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
}

std::optional<asio::ip::address> to_address(const ares_addrinfo_node& node) {
  if (node.ai_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, node.ai_addr, sizeof four);
    return asio::ip::address_v4(ntohl(four.sin_addr.s_addr));
  }
  if (node.ai_family != AF_INET6) return std::nullopt;
  sockaddr_in6 six{};
  std::memcpy(&six, node.ai_addr, sizeof six);
  asio::ip::address_v6::bytes_type bytes{};
  std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
  return asio::ip::address_v6(bytes, six.sin6_scope_id);
}

// What /etc/hosts says. c-ares asks DNS beside it for the family that it does not name, and a silent server
// would hold up "localhost".
std::vector<asio::ip::address> in_hosts_file(ares_channel channel, const std::string& name) {
  std::vector<asio::ip::address> out;
  for (const int family : {AF_INET, AF_INET6}) {
    hostent* found = nullptr;
    if (ares_gethostbyname_file(channel, name.c_str(), family, &found) != ARES_SUCCESS) continue;
    for (char** at = found->h_addr_list; at != nullptr && *at != nullptr; ++at) {
      asio::ip::address_v4::bytes_type four{};
      asio::ip::address_v6::bytes_type six{};
      if (family == AF_INET) {
        std::memcpy(four.data(), *at, four.size());
        out.emplace_back(asio::ip::address_v4(four));
      } else {
        std::memcpy(six.data(), *at, six.size());
        out.emplace_back(asio::ip::address_v6(six));
      }
    }
    ares_free_hostent(found);
  }
  return out;
}

}  // namespace

ResolverChannel::ResolverChannel() : configuration_(read_stamp()) {}

Result<std::unique_ptr<ResolverChannel>> ResolverChannel::open() {
  std::unique_ptr<ResolverChannel> out(new ResolverChannel());
  ares_options options{};
  options.timeout = kTimeoutMs;
  options.tries = kTries;
  options.sock_state_cb_data = &out->sockets_;
  options.sock_state_cb = [](void* data, ares_socket_t fd, int readable, int writable) {
    auto& sockets = *static_cast<std::map<ares_socket_t, short>*>(data);
    const int events = (readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0);
    if (events == 0)
      sockets.erase(fd);
    else
      sockets[fd] = static_cast<short>(events);
  };
  const int status = ares_init_options(
      &out->channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS) {
    out->channel_ = nullptr;
    return fail(fmt::format("prepare DNS: {}", ares_strerror(status)));
  }
  // A service on the address of a DNS server would answer for all names.
  ares_set_socket_configure_callback(
      out->channel_,
      [](ares_socket_t fd, int, void*) {
        make_direct_if_asked(fd);
        return 0;
      },
      nullptr);
  return out;
}

ResolverChannel::~ResolverChannel() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

void ResolverChannel::ask(const std::string& name, Done done) {
  boost::system::error_code no_literal;
  const auto literal = asio::ip::make_address(name, no_literal);
  if (!no_literal) return done(std::vector{literal});
  if (auto known = in_hosts_file(channel_, name); !known.empty()) return done(std::move(known));
  ++asked_;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // one entry for each address
  ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, answered,
                   new Waiting{std::move(done), asked_});
}

void ResolverChannel::answered(void* question, int status, int, ares_addrinfo* found) {
  const std::unique_ptr<Waiting> waiting(static_cast<Waiting*>(question));
  const std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)> owned(found,
                                                                           &ares_freeaddrinfo);
  --waiting->asked;
  std::vector<asio::ip::address> addresses;
  for (const ares_addrinfo_node* node = found ? found->nodes : nullptr; node != nullptr;
       node = node->ai_next)
    if (const auto address = to_address(*node)) addresses.push_back(*address);
  if (!addresses.empty())
    waiting->done(std::move(addresses));
  else
    waiting->done(fail(status == ARES_SUCCESS ? "empty answer" : ares_strerror(status)));
}

bool ResolverChannel::is_current() const {
  return identity(configuration_) == identity(read_stamp());
}

int ResolverChannel::prepare(std::vector<pollfd>& sockets) const {
  for (const auto& [fd, events] : sockets_) sockets.push_back({fd, events, 0});
  timeval time{};
  if (ares_timeout(channel_, nullptr, &time) == nullptr) return -1;
  return static_cast<int>(time.tv_sec * 1'000 + (time.tv_usec + 999) / 1'000);
}

void ResolverChannel::process(std::span<const pollfd> sockets) {
  // An answer may close any of them; its number may then be one of another channel's.
  for (const pollfd& socket : sockets) {
    if (socket.revents == 0 || !sockets_.contains(socket.fd)) continue;
    const bool failed = (socket.revents & (POLLERR | POLLHUP)) != 0;
    ares_process_fd(channel_,
                    failed || (socket.revents & POLLIN) != 0 ? socket.fd : ARES_SOCKET_BAD,
                    (socket.revents & POLLOUT) != 0 ? socket.fd : ARES_SOCKET_BAD);
  }
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // what has timed out
}

}  // namespace lb
