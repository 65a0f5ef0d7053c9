#include "relay/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/limits.h"
#include "base/spawn.h"
#include "relay/hub.h"
#include "relay/session.h"
#include "relay/tls_in_use.h"

namespace lb::relay {
namespace {

using std::chrono::steady_clock;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr rlim_t kMaxFiles = limits::kListeners + limits::kStrangers + 200;
constexpr rlim_t kOwnFiles = 200;  // sources, the socket for lbctl, files
constexpr int kBacklog = 4096;     // a whole fleet comes back at once
// After accept() failed for want of file descriptors it would fail again at once, forever.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

// Unlike Address::parse() it takes port 0, with which the kernel chooses.
Result<tcp::endpoint> parse_listen(const std::string& text) {
  const auto colon = text.rfind(':');
  const std::string port_text = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  Port port = 0;
  const char* end = port_text.data() + port_text.size();
  const auto [stop, error] = std::from_chars(port_text.data(), end, port);
  const auto ip = IpAddress::parse(host);
  if (port_text.empty() || error != std::errc() || stop != end || !ip)
    return fail(EINVAL, fmt::format("relay.listen '{}' is not ADDR:PORT", text));
  return tcp::endpoint(asio::ip::make_address(ip->to_string()), port);
}

Result<tcp::acceptor> listen_on(asio::io_context& io, const tcp::endpoint& at,
                                const std::string& text) {
  tcp::acceptor acceptor(io);
  ErrorCode error;
  const auto step = [&](auto call) {
    if (!error) call();
  };
  step([&] { acceptor.open(at.protocol(), error); });
  step([&] { acceptor.set_option(tcp::acceptor::reuse_address(true), error); });
  step([&] { acceptor.bind(at, error); });
  step([&] { acceptor.listen(kBacklog, error); });
  if (error) return fail(error.value(), fmt::format("relay: listen on {}", text));
  return acceptor;
}

// As many files as we may have; the soft limit is mostly 1,024, for programs that use select().
rlim_t raise_file_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 1024;
  const rlim_t wanted = std::min<rlim_t>(files.rlim_max, kMaxFiles);
  if (files.rlim_cur >= wanted) return files.rlim_cur;
  const rlimit raised{wanted, files.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? wanted : files.rlim_cur;
}

// As many of each as the files suffice for: connections that have said nothing must not take them all.
Admission::Limits quotas_of(rlim_t files) {
  const std::size_t room = files < kOwnFiles ? 0 : files - kOwnFiles;
  const std::size_t strangers = std::clamp<std::size_t>(room / 4, 8, limits::kStrangers);
  return {.strangers = strangers,
          .strangers_per_address = std::min(strangers / 2, limits::kStrangersPerAddress),
          .listeners =
              std::clamp<std::size_t>(room - std::min(room, strangers), 1, limits::kListeners)};
}

}  // namespace

class Server::Impl : public std::enable_shared_from_this<Server::Impl> {
 public:
  Impl(std::shared_ptr<Hub> hub, ServerConfig config, tcp::acceptor acceptor, rlim_t files)
      : hub_(std::move(hub)),
        config_(std::move(config)),
        acceptor_(std::move(acceptor)),
        pause_(hub_->io),
        files_(files) {}

  void start() {
    spawn(hub_->io, "relay server", [self = shared_from_this()] { return self->accept_all(); });
  }

  void stop(bool at_once) {
    const auto sessions = hub_->sessions;  // closing one may take it out
    hub_->stopped = true;
    ErrorCode ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& [id, session] : sessions) {
      if (at_once || !session->greeted())
        session->close();
      else
        session->say_goodbye("the updater stops");
    }
  }

  [[nodiscard]] std::vector<std::string> warnings() const;
  [[nodiscard]] std::string address() const;
  [[nodiscard]] Hub& hub() const { return *hub_; }

 private:
  asio::awaitable<void> accept_all();
  void admit(tcp::socket socket);

  std::shared_ptr<Hub> hub_;
  const ServerConfig config_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  const rlim_t files_;
  Hub::Id last_ = 0;
};

asio::awaitable<void> Server::Impl::accept_all() {
  const auto self = shared_from_this();
  while (!hub_->stopped) {
    auto [error, socket] = co_await acceptor_.async_accept(kTuple);
    if (hub_->stopped) co_return;
    if (!error) {
      admit(std::move(socket));
      continue;
    }
    hub_->complain(config_.listen, fmt::format("cannot accept a connection: {}", error.message()));
    pause_.expires_after(kAcceptPause);
    (void)co_await pause_.async_wait(kTuple);
  }
}

void Server::Impl::admit(tcp::socket socket) {
  ErrorCode unknown;
  const auto peer = socket.remote_endpoint(unknown);
  const std::string host = unknown ? "?" : peer.address().to_string();
  const auto session = std::make_shared<Session>(hub_, ++last_, host, std::move(socket),
                                                 hub_->tls ? hub_->tls->current() : nullptr);
  hub_->enter(session, host);
  spawn(hub_->io, "relay session", [session] { return session->run(); });
}

std::vector<std::string> Server::Impl::warnings() const {
  std::vector<std::string> out;
  ErrorCode ignored;
  const bool local = acceptor_.local_endpoint(ignored).address().is_loopback();
  if (!hub_->tls && !local)
    out.push_back(
        fmt::format("relay.listen {} is plain TCP: whoever reaches it can read all services and "
                    "give fleet drains; set tls_cert, tls_key and tls_client_ca",
                    config_.listen));
  if (hub_->tls && config_.tls.ca.empty())
    out.push_back("[relay] has no tls_client_ca: listeners are not asked for a certificate");
  if (hub_->tls)
    for (std::string& warning : hub_->tls->warnings()) out.push_back(std::move(warning));
  if (files_ < kMaxFiles)
    out.push_back(
        fmt::format("the limit of {} open files leaves room for {} listeners (LimitNOFILE)", files_,
                    quotas_of(files_).listeners));
  return out;
}

std::string Server::Impl::address() const {
  ErrorCode ignored;
  const auto at = acceptor_.local_endpoint(ignored);
  const auto ip = IpAddress::parse(at.address().to_string());
  return Address{ip.value_or(IpAddress()), at.port()}.to_string();
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->stop(true); }

Result<std::unique_ptr<Server>> Server::open(asio::io_context& io, ServerConfig config,
                                             FleetOrders& orders, std::string node,
                                             std::string version, std::function<void()> changed) {
  std::shared_ptr<TlsInUse> tls;
  if (config.require_tls && config.tls.cert.empty())
    return fail(EINVAL, "relay: require_tls is set, and tls_cert and tls_key are not");
  if (config.tls.used()) {
    LB_TRY(tls, TlsInUse::open(config.tls));
  }
  LB_TRY(const tcp::endpoint at, parse_listen(config.listen));
  LB_TRY(tcp::acceptor acceptor, listen_on(io, at, config.listen));
  const rlim_t files = raise_file_limit();
  const auto hub = std::make_shared<Hub>(io, orders, std::move(node), std::move(version),
                                         std::move(changed), quotas_of(files));
  hub->tls = std::move(tls);
  hub->compares_names = !config.tls.ca.empty() && !config.shared_certificate;
  const auto impl = std::make_shared<Impl>(hub, std::move(config), std::move(acceptor), files);
  impl->start();
  return std::unique_ptr<Server>(new Server(impl));
}

void Server::publish(std::vector<ServicePtr> services, std::vector<SourceMark> sources) {
  Hub& hub = impl_->hub();
  hub.marks_changed();
  if (hub.feed.publish(std::move(services), std::move(sources))) hub.wake_all();
}

void Server::mark(std::vector<SourceMark> sources) {
  impl_->hub().feed.mark(std::move(sources));
  impl_->hub().marks_changed();
}

void Server::orders_changed() { impl_->hub().orders_changed(); }

void Server::greet_again() {
  const auto sessions = impl_->hub().sessions;  // one that ends is taken out
  for (const auto& [id, session] : sessions)
    if (session->greeted()) session->say_goodbye("the updater has a key for its orders now");
}

std::vector<ListenerView> Server::listeners() const { return impl_->hub().views(); }

FleetProgress Server::progress(const FleetOrder& order) const {
  const Hub& hub = impl_->hub();
  return hub.progress(order, steady_clock::now() - hub.started >= kDeadAfter);
}

std::set<std::string> Server::ended(std::set<std::string> ids) const {
  return impl_->hub().ended(std::move(ids));
}

Position Server::position() const { return impl_->hub().feed.at(); }
std::vector<std::string> Server::warnings() const { return impl_->warnings(); }
std::string Server::address() const { return impl_->address(); }
void Server::stop() { impl_->stop(false); }

}  // namespace lb::relay
