#include "relay/connection.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "base/direct_socket.h"
#include "base/event.h"
#include "base/resolver.h"
#include "relay/certificate.h"
#include "relay/peer_bytes.h"
#include "relay/revocation.h"
#include "relay/tls.h"

namespace lb::relay {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
// What a waiting connection holds; most messages are pings. Then as much again as has come, until
// this much at a time: it is zeroed before each read, and TLS fills 16 KiB of it.
constexpr std::size_t kFirstRead = 1024;
constexpr std::size_t kMaxRead = 64 * 1024;
constexpr unsigned kLinesPerTurn = 32;  // of the loop

std::string text_of(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address();
  const IpAddress ip = address.is_v4() ? IpAddress::v4(address.to_v4().to_uint())
                                       : IpAddress::v6(address.to_v6().to_bytes());
  return Address{ip, endpoint.port()}.to_string();
}

// A name whose servers are silent takes longer than `deadline`: then the question is given up.
asio::awaitable<Result<std::vector<tcp::endpoint>>> resolve(asio::io_context& io, HostPort to,
                                                            steady_clock::time_point deadline) {
  struct Look {
    explicit Look(asio::io_context& context) : done(context.get_executor()) {}
    Event done;
    Resolver::Answer answer = fail("no DNS server has answered in time");
  };
  if (const auto ip = IpAddress::parse(to.host)) {
    const auto literal = asio::ip::make_address(ip->to_string());
    co_return std::vector{tcp::endpoint(literal, to.port)};
  }
  const auto look = std::make_shared<Look>(io);
  const auto question =
      asio::use_service<Resolver>(io).ask(to.host, [look](Resolver::Answer answer) {
        look->answer = std::move(answer);
        look->done.notify();
      });
  (void)co_await look->done.wait(deadline);
  if (!look->answer)
    co_return fail(EHOSTUNREACH,
                   fmt::format("cannot resolve {}: {}", to.host, look->answer.error().message()));
  std::vector<tcp::endpoint> found;
  for (const auto& address : *look->answer) found.emplace_back(address, to.port);
  co_return found;
}

}  // namespace

class Connection::Impl : public std::enable_shared_from_this<Connection::Impl> {
 public:
  Impl(tcp::socket socket, std::shared_ptr<asio::ssl::context> tls)
      : socket_(std::move(socket)),
        context_(std::move(tls)),
        read_time_(socket_.get_executor()),
        write_time_(socket_.get_executor()) {
    if (context_) tls_.emplace(socket_, *context_);
  }

  asio::awaitable<Result<>> connect(std::vector<tcp::endpoint> to,
                                    steady_clock::time_point deadline);
  asio::awaitable<Result<>> shake_hands(asio::ssl::stream_base::handshake_type side,
                                        steady_clock::time_point deadline);
  asio::awaitable<Result<std::string>> read_line(Reading reading);
  asio::awaitable<void> discard(milliseconds within);
  void last_words(const std::string& line);
  asio::awaitable<Result<>> write(Line line, milliseconds timeout);

  // For a client, before its handshake.
  void expect(const std::string& host) { expect_name(tls_->native_handle(), host); }
  // Before the handshake: what the lists of revoked certificates are called.
  void name_lists(std::string key_and_file) { lists_ = std::move(key_and_file); }

  void close() { end(ECANCELED, "the connection was closed here"); }
  [[nodiscard]] const std::string& peer() const { return peer_; }
  [[nodiscard]] SSL* ssl() { return tls_ ? tls_->native_handle() : nullptr; }
  void ready() {
    ErrorCode ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    const auto endpoint = socket_.remote_endpoint(ignored);
    if (!ignored) peer_ = text_of(endpoint);
  }

 private:
  // Ends every call when time is up before the next arm() or disarm().
  void arm(asio::steady_timer& timer, steady_clock::time_point deadline, const char* complaint) {
    timer.expires_at(deadline);
    timer.async_wait([weak = weak_from_this(), &timer, complaint](const ErrorCode& error) {
      const auto self = weak.lock();
      // It may have been armed anew after this call was already on its way.
      if (!error && self && timer.expiry() <= steady_clock::now()) self->end(ETIMEDOUT, complaint);
    });
  }
  static void disarm(asio::steady_timer& timer) {
    timer.expires_at(steady_clock::time_point::max());
  }

  void end(int reason, const char* complaint) {
    if (ended_ == 0) {
      ended_ = reason;
      complaint_ = complaint;
    }
    ErrorCode ignored;
    socket_.close(ignored);
    read_time_.cancel();
    write_time_.cancel();
  }

  [[nodiscard]] Error error_of(const ErrorCode& code) const;
  [[nodiscard]] std::optional<Result<std::string>> take_line(std::size_t limit);
  [[nodiscard]] Result<> check_begin(bool whole) const;

  tcp::socket socket_;
  std::shared_ptr<asio::ssl::context> context_;
  std::optional<asio::ssl::stream<tcp::socket&>> tls_;
  asio::steady_timer read_time_;
  asio::steady_timer write_time_;
  std::string peer_;
  std::string lists_ = "tls_crl";
  std::string buffer_;        // what has come and was not taken
  std::size_t searched_ = 0;  // no newline before
  bool first_ = true;         // no line was taken yet
  unsigned taken_ = 0;        // lines
  int ended_ = 0;             // ECANCELED or ETIMEDOUT
  const char* complaint_ = "";
};

Error Connection::Impl::error_of(const ErrorCode& code) const {
  if (ended_ != 0) return fail(ended_, complaint_).value();
  if (code == asio::error::eof || code == asio::ssl::error::stream_truncated)
    return fail(ENODATA,
                first_ && !tls_
                    ? "the other side has closed the connection without a word (so does an "
                      "updater that wants TLS)"
                    : "the other side has closed the connection")
        .value();
  if (code.category() == asio::error::get_ssl_category()) {
    const std::string hint = relay_tls_hint(code.message());
    return fail(EPROTO, fmt::format("TLS: {}{}{}", code.message(), hint.empty() ? "" : ": ", hint))
        .value();
  }
  return fail(code.value(), "the connection is lost").value();
}

asio::awaitable<Result<>> Connection::Impl::connect(std::vector<tcp::endpoint> to,
                                                    steady_clock::time_point deadline) {
  ErrorCode last = asio::error::timed_out;
  for (std::size_t i = 0; i < to.size(); ++i) {
    // One address that swallows packets must not take the time of the others.
    const auto left = deadline - steady_clock::now();
    ended_ = 0;
    arm(read_time_, steady_clock::now() + left / static_cast<int>(to.size() - i), "connect");
    if (ErrorCode opened; socket_.open(to[i].protocol(), opened), !opened)
      make_direct_if_asked(socket_.native_handle());
    const auto [error] = co_await socket_.async_connect(to[i], kAsTuple);
    disarm(read_time_);
    if (!error) co_return Result<>();
    last = ended_ == ETIMEDOUT ? ErrorCode(asio::error::timed_out) : error;
    if (ended_ == ECANCELED) break;
    ErrorCode ignored;
    socket_.close(ignored);
  }
  co_return fail(last.value(), "connect");
}

asio::awaitable<Result<>> Connection::Impl::shake_hands(asio::ssl::stream_base::handshake_type side,
                                                        steady_clock::time_point deadline) {
  std::string refusal;
  ErrorCode unset;
  tls_->set_verify_callback(
      [&](bool good, asio::ssl::verify_context& verification) {
        if (!good) refusal = why_refused(verification.native_handle(), lists_);
        return good;
      },
      unset);
  arm(read_time_, deadline, "the TLS handshake took too long");
  const auto [error] = co_await tls_->async_handshake(side, kAsTuple);
  disarm(read_time_);
  tls_->set_verify_callback([](bool good, asio::ssl::verify_context&) { return good; }, unset);
  if (!error) co_return Result<>();
  const long verdict = SSL_get_verify_result(tls_->native_handle());
  if (refusal.empty() && verdict != X509_V_OK) refusal = verify_text(verdict);
  if (ended_ == 0 && verdict != X509_V_OK)
    co_return fail(EKEYREJECTED,
                   fmt::format("TLS: the certificate of the other side is refused: {}", refusal));
  co_return tl::unexpected(error_of(error));
}

Result<> Connection::Impl::check_begin(bool whole) const {
  if (!first_) return {};
  // With its end the shortest word is whole.
  std::string what = not_our_protocol(whole ? buffer_ + "\n" : buffer_);
  if (what.empty()) return {};
  return fail(EPROTO, std::move(what));
}

// nullopt: more must come.
std::optional<Result<std::string>> Connection::Impl::take_line(std::size_t limit) {
  if (const auto checked = check_begin(false); !checked) return tl::unexpected(checked.error());
  const auto newline = buffer_.find('\n', searched_);
  searched_ = buffer_.size();
  if (std::min(newline, buffer_.size()) > limit)
    return fail(EMSGSIZE, fmt::format("a message of more than {} bytes", limit));
  if (newline == std::string::npos) return std::nullopt;
  std::string rest = buffer_.substr(newline + 1);
  buffer_.resize(newline);
  first_ = false;
  searched_ = 0;
  return std::exchange(buffer_, std::move(rest));
}

asio::awaitable<Result<std::string>> Connection::Impl::read_line(Reading reading) {
  const auto self = shared_from_this();
  std::optional<steady_clock::time_point> until = reading.until;
  bool begun = false;
  for (;;) {
    if (auto line = take_line(reading.limit)) {
      // Thousands may come in one piece, and others wait for the loop.
      if (++taken_ % kLinesPerTurn == 0) co_await asio::post(asio::use_awaitable);
      co_return *std::move(line);
    }
    const std::size_t have = buffer_.size();
    if (have > 0 && !std::exchange(begun, true)) {
      const auto end = steady_clock::now() + reading.whole;
      until = std::min(until.value_or(end), end);
    }
    const std::size_t want = std::clamp(have, kFirstRead, kMaxRead);
    const std::size_t size_after = have + std::min(want, reading.limit + 1 - have);
    if (reading.grows)
      if (auto may = reading.grows(size_after); !may) co_return tl::unexpected(may.error());
    buffer_.resize(size_after);
    const auto target = asio::buffer(buffer_.data() + have, buffer_.size() - have);
    const auto silent = steady_clock::now() + reading.silence;
    if (until && *until < silent)
      arm(read_time_, *until, "a message that does not end");
    else
      arm(read_time_, silent, "nothing was heard");
    ErrorCode error;
    std::size_t size = 0;
    if (ended_ != 0)
      error = asio::error::operation_aborted;
    else if (tls_)
      std::tie(error, size) = co_await tls_->async_read_some(target, kAsTuple);
    else
      std::tie(error, size) = co_await socket_.async_read_some(target, kAsTuple);
    disarm(read_time_);
    buffer_.resize(have + size);
    if (!error) continue;
    const auto begin = have == 0 ? Result<>() : check_begin(true);
    if (!begin) co_return tl::unexpected(begin.error());
    co_return tl::unexpected(error_of(error));
  }
}

asio::awaitable<void> Connection::Impl::discard(milliseconds within) {
  const auto self = shared_from_this();
  buffer_ = std::string(kFirstRead, '\0');
  const auto target = asio::buffer(buffer_);
  arm(read_time_, steady_clock::now() + within, "what comes is not wanted");
  ErrorCode error;
  std::size_t size = 0;
  while (!error && ended_ == 0) {
    if (tls_)
      std::tie(error, size) = co_await tls_->async_read_some(target, kAsTuple);
    else
      std::tie(error, size) = co_await socket_.async_read_some(target, kAsTuple);
  }
  disarm(read_time_);
  buffer_.clear();
}

void Connection::Impl::last_words(const std::string& line) {
  if (tls_ || ended_ != 0) return;
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
  if (!ignored) (void)socket_.write_some(asio::buffer(line), ignored);
}

asio::awaitable<Result<>> Connection::Impl::write(Line line, milliseconds timeout) {
  const auto self = shared_from_this();
  std::size_t done = 0;
  while (done < line->size()) {
    const auto rest = asio::buffer(line->data() + done, line->size() - done);
    arm(write_time_, steady_clock::now() + timeout, "the other side does not read");
    ErrorCode error;
    std::size_t size = 0;
    if (ended_ != 0)
      error = asio::error::operation_aborted;
    else if (tls_)
      std::tie(error, size) = co_await tls_->async_write_some(rest, kAsTuple);
    else
      std::tie(error, size) = co_await socket_.async_write_some(rest, kAsTuple);
    disarm(write_time_);
    if (error) co_return tl::unexpected(error_of(error));
    done += size;
  }
  co_return Result<>();
}

Connection::Connection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) { impl_->ready(); }
Connection::~Connection() { impl_->close(); }

asio::awaitable<Result<std::unique_ptr<Connection>>> Connection::dial(asio::io_context& io,
                                                                      HostPort to, TlsFiles tls,
                                                                      milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  std::shared_ptr<asio::ssl::context> context;
  if (tls.used()) {
    const std::function<Result<std::shared_ptr<asio::ssl::context>>()> read = [tls] {
      return client_context(tls);
    };
    LB_CO_TRY(context, co_await beside(read, timeout));
  }
  LB_CO_TRY(auto endpoints, co_await resolve(io, to, deadline));
  const auto impl = std::make_shared<Impl>(tcp::socket(io), context);
  const auto connected = co_await impl->connect(std::move(endpoints), deadline);
  if (!connected) co_return tl::unexpected(connected.error());
  if (context) {
    impl->expect(to.host);
    impl->name_lists("crl " + tls.crl);
    const auto shaken = co_await impl->shake_hands(asio::ssl::stream_base::client, deadline);
    if (!shaken) co_return tl::unexpected(shaken.error());
  }
  co_return std::unique_ptr<Connection>(new Connection(impl));
}

asio::awaitable<Result<std::unique_ptr<Connection>>> Connection::accept(
    tcp::socket socket, std::shared_ptr<asio::ssl::context> tls, milliseconds timeout) {
  const auto impl = std::make_shared<Impl>(std::move(socket), std::move(tls));
  if (impl->ssl() != nullptr) {
    const auto shaken =
        co_await impl->shake_hands(asio::ssl::stream_base::server, steady_clock::now() + timeout);
    if (!shaken) co_return tl::unexpected(shaken.error());
  }
  co_return std::unique_ptr<Connection>(new Connection(impl));
}

asio::awaitable<Result<std::string>> Connection::read_line(Reading reading) {
  return impl_->read_line(std::move(reading));
}

asio::awaitable<Result<std::string>> Connection::read_line(std::size_t limit,
                                                           milliseconds silence) {
  Reading reading{.limit = limit, .silence = silence};
  return impl_->read_line(std::move(reading));
}

asio::awaitable<void> Connection::discard(milliseconds within) { return impl_->discard(within); }

void Connection::last_words(const std::string& line) { impl_->last_words(line); }

asio::awaitable<Result<>> Connection::write(Line line, milliseconds timeout) {
  return impl_->write(std::move(line), timeout);
}

void Connection::close() { impl_->close(); }
const std::string& Connection::peer() const { return impl_->peer(); }
bool Connection::is_tls() const { return impl_->ssl() != nullptr; }

std::optional<std::chrono::system_clock::time_point> Connection::peer_expiry() const {
  return is_tls() ? expiry_of_peer(impl_->ssl()) : std::nullopt;
}

std::vector<std::string> Connection::peer_names() const {
  return is_tls() ? names_of(SSL_get0_peer_certificate(impl_->ssl())) : std::vector<std::string>();
}

bool Connection::revoked_by(asio::ssl::context& lists) const {
  return is_tls() && revokes_peer(lists, impl_->ssl());
}

}  // namespace lb::relay
