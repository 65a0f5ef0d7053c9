#include "relay/link.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "relay/tls.h"

namespace lb::relay {
namespace {

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Two lost SYNs. All addresses of a name share it.
constexpr milliseconds kDialPatience = 4s;
constexpr milliseconds kHelloPatience = 5s;
constexpr milliseconds kGoodbyePatience = 1s;
constexpr milliseconds kFilesPatience = 2s;

// The files of TLS; `context` is null when they are as they were.
struct Lists {
  std::string stamp;
  std::shared_ptr<asio::ssl::context> context;
};

Result<Lists> read_lists(const TlsFiles& files, const std::string& known) {
  Lists out{stamp_of(files), nullptr};
  if (out.stamp == known) return out;
  LB_TRY(out.context, client_context(files));
  return out;
}

Line line_of(const Message& message) {
  return std::make_shared<const std::string>(encode(message));
}

Result<UpdaterHello> check_hello(const std::optional<Message>& message) {
  if (message) {
    if (const auto* bye = std::get_if<Goodbye>(&*message))
      return fail(EPROTO, fmt::format("refuses this listener: {}", bye->reason));
    if (const auto* hello = std::get_if<UpdaterHello>(&*message)) {
      // A newer one speaks ours, too: both use the smaller version.
      if (hello->protocol >= 1) return *hello;
      return fail(EPROTO, "says no version of the push protocol: is that an updater?");
    }
    if (std::holds_alternative<ListenerHello>(*message))
      return fail(EPROTO, "is a listener itself: name an updater");
  }
  return fail(EPROTO, "does not begin with a hello: is that port an lbd updater?");
}

}  // namespace

Link::Link(const Shared& shared, std::size_t index, HostPort updater)
    : shared_(shared),
      index_(index),
      updater_(std::move(updater)),
      wake_(shared.io.get_executor()),
      pause_(shared.io),
      random_(std::random_device{}()) {}

void Link::stop() {
  stopped_ = true;
  if (connection_) connection_->close();
  pause_.cancel();
}

asio::awaitable<void> Link::run() {
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  while (!stopped_) {
    auto ended = co_await session();
    connection_.reset();
    if (stopped_) co_return;
    failed(ended.error());
    shared_.down(index_);
    pause_.expires_after(redial_.failed(unit(random_)));
    const auto [ec] = co_await pause_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
  }
}

void Link::failed(const Error& error) {
  const auto now = shared_.clocks.steady();
  if (std::exchange(connected_, false) && now - connected_at_ >= Complaint::kStable)
    redial_.succeeded();
  Trouble trouble = explain(updater_, error, stage_);
  error_ = trouble.text;
  complaint_.failed(std::move(trouble), now);
}

// Never succeeds: the error is why it is over.
asio::awaitable<Result<>> Link::session() {
  stage_ = Stage::Dial;
  ended_.reset();
  goodbye_.clear();
  auto dialed = co_await Connection::dial(shared_.io, updater_, shared_.tls, kDialPatience);
  if (!dialed) co_return tl::unexpected(dialed.error());
  if (stopped_) co_return fail(ECANCELED, "stopped");
  connection_ = *std::move(dialed);
  stage_ = Stage::Hello;
  auto hello = co_await greet();
  if (!hello) co_return tl::unexpected(hello.error());
  stage_ = Stage::Up;
  connected_ = true;
  connected_at_ = shared_.clocks.steady();
  error_.clear();
  complaint_.connected(connected_at_);
  outbox_.heard(hello->orders);
  outbox_.orders_changed();
  outbox_.ping();  // the counts, before anybody takes them for 0
  shared_.up(index_, *hello);
  auto both = listen() && talk();
  co_await std::move(both);
  co_return tl::unexpected(ended_.value_or(Error{{}, "ended"}));
}

asio::awaitable<Result<UpdaterHello>> Link::greet() {
  const ListenerHello mine = shared_.hello();
  outbox_.restart(mine.orders);
  const Line greeting = line_of(mine);
  const auto written = co_await connection_->write(greeting, kDeadAfter);
  if (!written) co_return tl::unexpected(written.error());
  auto line = co_await connection_->read_line(limits::kUpdaterLine, kHelloPatience);
  if (!line) co_return tl::unexpected(line.error());
  std::string text = *std::move(line);
  const auto message =
      co_await shared_.decoder.decode(std::move(text), shared_.publish, From::Updater);
  if (!message) co_return tl::unexpected(message.error());
  auto hello = check_hello(*message);
  if (!hello) {
    const Line bye = line_of(Goodbye{hello.error().context});
    const auto told = co_await connection_->write(bye, kGoodbyePatience);
    (void)told;
  }
  co_return hello;
}

asio::awaitable<void> Link::listen() {
  while (!ended_) {
    auto line = co_await connection_->read_line(limits::kUpdaterLine, kDeadAfter);
    if (stopped_) break;  // whoever could take it may be gone
    if (!line) {
      end(line.error(), line.error().code.value() == EMSGSIZE);
      break;
    }
    std::string text = *std::move(line);
    auto message = co_await shared_.decoder.decode(std::move(text), shared_.publish, From::Updater);
    if (stopped_ || ended_) break;
    if (!message) {
      end(message.error(), true);
    } else if (*message && std::holds_alternative<Goodbye>(**message)) {
      const std::string& reason = std::get<Goodbye>(**message).reason;
      end(fail(ENODATA, fmt::format("has ended the connection: {}", reason)).value());
    } else if (*message) {
      const auto taken = shared_.take(index_, std::move(**message));
      if (!taken) end(taken.error(), true);
    }
  }
}

asio::awaitable<void> Link::talk() {
  auto next_ping = steady_clock::now() + kPingEvery;
  for (;;) {
    co_await say_all();
    if (ended_ || stopped_) break;
    const auto woken = co_await wake_.wait(next_ping);
    if (woken == Event::Woken::Cancelled) end(fail(ECANCELED, "stopped").value());
    if (woken != Event::Woken::Deadline) continue;
    next_ping = steady_clock::now() + kPingEvery;
    check_certificate();
    co_await check_revoked();
    outbox_.ping();
  }
  if (!goodbye_.empty()) {
    const Line bye = line_of(Goodbye{goodbye_});
    const auto told = co_await connection_->write(bye, kGoodbyePatience);
    (void)told;
  }
  connection_->close();
}

asio::awaitable<void> Link::say_all() {
  while (!ended_ && !stopped_) {
    const auto message = outbox_.next(*shared_.orders());
    if (!message) break;
    const Line line = line_of(*message);
    writing_ = true;
    const auto written = co_await connection_->write(line, kDeadAfter);
    writing_ = false;
    if (!written) end(written.error());
  }
}

void Link::end(Error error, bool tell) {
  if (ended_) return;
  ended_ = std::move(error);
  if (tell && !writing_) goodbye_ = ended_->context;
  // Else at the end of talk(), after the goodbye.
  if (goodbye_.empty()) connection_->close();
  wake_.notify();
}

// The handshake checked it once; a connection may live longer than that.
void Link::check_certificate() {
  const auto expiry = connection_->peer_expiry();
  if (!expiry || shared_.clocks.wall() < *expiry) return;
  const SysTime at = std::chrono::time_point_cast<milliseconds>(*expiry);
  end(fail(EPROTO,
           fmt::format("the updater's certificate has expired at {}: renew it", format_iso8601(at)))
          .value(),
      true);
}

// A list that is replaced counts for the connections that are there, too.
asio::awaitable<void> Link::check_revoked() {
  if (shared_.tls.crl.empty() || ended_) co_return;
  const std::function<Result<Lists>()> read = [files = shared_.tls, known = lists_stamp_] {
    return read_lists(files, known);
  };
  const auto lists = co_await beside(read, kFilesPatience);
  if (stopped_ || ended_) co_return;
  if (!lists) {  // perhaps half of it is there
    const std::string error = lists.error().message();
    if (std::exchange(lists_error_, error) != error)
      spdlog::error("updater={} {}; the connection stays", to_string(updater_), error);
    co_return;
  }
  lists_error_.clear();
  lists_stamp_ = lists->stamp;
  if (lists->context && connection_->revoked_by(*lists->context))
    end(fail(EPROTO, fmt::format("the updater's certificate is revoked by crl {}", shared_.tls.crl))
            .value(),
        true);
}

}  // namespace lb::relay
