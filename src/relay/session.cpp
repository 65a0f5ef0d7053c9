#include "relay/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <iterator>
#include <tuple>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/audit.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "base/text.h"
#include "relay/certificate.h"
#include "relay/progress.h"

namespace lb::relay {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr auto kHandshake = seconds(5);  // of TLS, and again until the hello
constexpr auto kWrite = seconds(12);     // a listener that reads nothing for so long is stuck
constexpr auto kParting = seconds(1);    // for the goodbye to be read, before the connection is cut
// Whoever asks again and again for all of it gets it at this rate.
constexpr auto kSnapshotAtMost = seconds(1);
// From the first byte of a line on; the longest takes 70 KB/s.
constexpr auto kLine = seconds(60);
constexpr auto kRefusal = milliseconds(500);  // until a stranger that goes on sending is cut off
constexpr std::size_t kMaxUnacknowledged = 64;

// Its default address is in no message that listeners send.
const IpAddress kNoPublish;

}  // namespace

Session::Session(std::shared_ptr<Hub> hub, Hub::Id id, std::string host,
                 asio::ip::tcp::socket socket, std::shared_ptr<asio::ssl::context> tls)
    : hub_(std::move(hub)),
      id_(id),
      host_(std::move(host)),
      socket_(std::move(socket)),
      tls_(std::move(tls)),
      wake_(socket_.get_executor()) {}

asio::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  const auto greeted = co_await greet();
  hub_->unfinished.release(id_);
  if (greeted) {
    spawn(hub_->io, "relay session", [self] { return self->write_all(); });
    co_await read_all();
  } else if (greeted.error().code != std::errc::no_message_available &&
             greeted.error().code != std::errc::operation_canceled) {
    say_refused(greeted.error());
    if (connection_) {
      goodbye_ = greeted.error().message();
      co_await refuse();
    }
  }
  over_ = true;
  wake();
  hub_->leave(self);
}

// An act of a listener, known by its certificate or its hello; what speaks another protocol is none.
void Session::say_refused(const Error& error) {
  const bool logged = hub_->complain(host_, error.message());
  if (logged && (!view_.node.empty() || error.code.value() == EKEYREJECTED))
    audit_refusal(error.context);
}

void Session::audit_refusal(const std::string& why) const {
  write_audit({.event = "listener-refused",
               .who = view_.node.empty() ? "node unknown" : "node=" + view_.node,
               .from = connection_ ? connection_->peer() : host_,
               .what = view_.observes ? "logger" : "listener",
               .why = why,
               .result = "refused"});
}

// There is no writer yet.
asio::awaitable<void> Session::refuse() {
  const Line line = std::make_shared<const std::string>(encode(Goodbye{*goodbye_}));
  const auto written = co_await connection_->write(line, kParting);
  if (written) co_await connection_->discard(kRefusal);
  connection_->close();
}

asio::awaitable<Result<>> Session::greet() {
  shaking_ = socket_.native_handle();
  auto accepted = co_await Connection::accept(std::move(socket_), std::move(tls_), kHandshake);
  shaking_ = -1;
  if (over_) co_return fail(ECANCELED, "cut off");
  if (!accepted) co_return tl::unexpected(accepted.error());
  connection_ = *std::move(accepted);
  Reading hello_reading = reading(limits::kHelloLine, kHandshake);
  hello_reading.until = steady_clock::now() + kHandshake;
  auto line = co_await connection_->read_line(std::move(hello_reading));
  if (!line) {
    if (line.error().code == std::errc::timed_out)
      co_return fail(ETIMEDOUT, "connected, and said no hello");
    co_return tl::unexpected(line.error());
  }
  std::string text = *std::move(line);
  auto message = co_await hub_->decoder.decode(std::move(text), kNoPublish, From::Listener);
  auto hello = understand(std::move(message));
  if (!hello) co_return tl::unexpected(hello.error());
  if (hub_->stopped) co_return fail(ENODATA, "the updater stops");
  if (over_) co_return fail(ECANCELED, "cut off");
  co_return welcome(*std::move(hello));
}

// Others are read beside this one: what is not whole of all of them together is bounded.
Reading Session::reading(std::size_t limit, milliseconds silence) {
  return {.limit = limit, .silence = silence, .whole = kLine, .grows = [this](std::size_t size) {
            return hub_->hold_unfinished(id_, size);
          }};
}

Result<ListenerHello> Session::understand(Result<std::optional<Message>> message) const {
  if (!message) return tl::unexpected(message.error());
  auto* hello = *message ? std::get_if<ListenerHello>(&**message) : nullptr;
  if (hello == nullptr && *message && std::holds_alternative<UpdaterHello>(**message))
    return fail(EPROTO, "this is an updater, too: updaters do not connect to each other");
  if (hello == nullptr) return fail(EPROTO, "the first message is no hello");
  if (hello->protocol < 1)
    return fail(EPROTO, fmt::format("a hello without a protocol number that exists (here: 1 to {})",
                                    kProtocol));
  if (hello->node.empty()) return fail(EPROTO, "a hello without the name of its node");
  return std::move(*hello);
}

Result<> Session::welcome(ListenerHello hello) {
  view_ = {.node = hello.node,
           .address = connection_->peer(),
           .version = hello.version,
           .connected = true,
           .tls = connection_->is_tls(),
           .takes_state = hello.wants_state,
           .observes = hello.observes,
           .since = sys_now(),
           .applied = {},
           .lag = {},
           .counts = {},
           .orders = {}};
  LB_CHECK(check_name());
  if (!hub_->join(shared_from_this())) return fail(EUSERS, "there are too many listeners");
  greeted_ = true;
  write_audit({.event = "listener-accepted",
               .who = "node=" + view_.node,
               .from = view_.address,
               .what = hello.observes ? "logger" : "listener",
               .why = why_let_in()});
  hub_->adopt(host_, hello.orders, hello.refused);
  handle(Feed{hello.wants_state, std::move(hello.have)});
  next_ping_ = steady_clock::now();  // it tells of the sources
  return {};
}

// A certificate that was stolen from one host is good for that host's name alone.
Result<> Session::check_name() const {
  if (!hub_->compares_names) return {};
  const auto names = connection_->peer_names();
  if (name_node(names, view_.node)) return {};
  return fail(
      fmt::format("the certificate names {}, the node says {}: give each listener its own, "
                  "or set [relay] shared_certificate = true",
                  listed_names(names), printable(view_.node, 64)));
}

const char* Session::why_let_in() const {
  if (!view_.tls) return "plain TCP lets in everybody";
  if (!connection_->peer_expiry()) return "TLS without tls_client_ca lets in everybody";
  return hub_->compares_names ? "its certificate names it" : "its certificate";
}

asio::awaitable<void> Session::read_all() {
  for (;;) {
    const milliseconds patience = goodbye_ ? milliseconds(kParting) : milliseconds(kDeadAfter);
    Reading next = reading(limits::kListenerLine, patience);
    auto line = co_await connection_->read_line(std::move(next));
    if (!line) {
      const auto& error = line.error();
      const bool quiet = goodbye_ || hub_->stopped ||
                         error.code == std::errc::no_message_available ||
                         error.code == std::errc::operation_canceled;
      if (!quiet) hub_->complain(host_, fmt::format("{}: {}", view_.node, error.message()));
      if (error.code == std::errc::message_size || error.code == std::errc::no_buffer_space) {
        say_goodbye(error.message());
        co_await connection_->discard(kRefusal);  // until that is written
      }
      break;
    }
    if (!goodbye_) {
      std::string text = *std::move(line);
      auto message = co_await hub_->decoder.decode(std::move(text), kNoPublish, From::Listener);
      if (!message) {
        hub_->complain(host_, fmt::format("{}: {}", view_.node, message.error().message()));
        say_goodbye(message.error().message());
      } else if (*message && !over_) {
        std::visit([this](auto& m) { handle(std::move(m)); }, **message);
      }
    }
    hub_->unfinished.release(id_);
  }
  spdlog::debug("relay: listener {} ({}) has gone", view_.node, view_.address);
}

asio::awaitable<void> Session::write_all() {
  const auto self = shared_from_this();
  UpdaterHello hello{kProtocol,         hub_->node, hub_->version, hub_->feed.at(), {},
                     hub_->order_key(), {}};
  hello.orders = hub_->first_orders(orders_told_);
  Line line = std::make_shared<const std::string>(encode(hello));
  while (!over_) {
    if (line) {
      const auto written = co_await connection_->write(line, kWrite);
      if (!written) co_return connection_->close();
    } else {
      // A snapshot may be waiting for its time.
      const bool wants = wants_state_ && !have_ && hub_->feed.at().sequence > 0;
      const auto deadline = wants ? std::min(next_ping_, next_snapshot_) : next_ping_;
      (void)co_await wake_.wait(deadline);
    }
    if (over_) break;
    if (goodbye_) {
      co_await part();
      break;
    }
    line = next_line();
  }
  connection_->close();
}

// Closing at once what has not been read here would reset the connection, and the reason be lost.
asio::awaitable<void> Session::part() {
  const Line line = std::make_shared<const std::string>(encode(Goodbye{*goodbye_}));
  const auto written = co_await connection_->write(line, kParting);
  const auto deadline = steady_clock::now() + kParting;
  while (written && !over_ && steady_clock::now() < deadline) (void)co_await wake_.wait(deadline);
  connection_->close();
}

Line Session::next_line() {
  const auto now = steady_clock::now();
  if (now >= next_ping_) {
    // Not all at the same moment, though all connect at once after a restart.
    const milliseconds spread(std::hash<std::string>()(view_.address) % 5000);
    next_ping_ = now + (std::exchange(pinged_, true) ? milliseconds(kPingEvery) : spread);
    check_certificate();
    return hub_->ping();
  }
  if (Line orders = hub_->orders_after(orders_told_)) return orders;
  return next_state();
}

Line Session::next_state() {
  const Position& at = hub_->feed.at();
  if (!wants_state_ || at.sequence == 0 || have_ == at.sequence) return nullptr;
  const auto now = steady_clock::now();
  if (!have_) {
    if (now < next_snapshot_) return nullptr;
    next_snapshot_ = now + kSnapshotAtMost;
  }
  const StateFeed::Step step = hub_->feed.next(have_);
  have_ = step.sequence;
  sent_.push_back({step.sequence, now});
  if (sent_.size() > kMaxUnacknowledged) sent_.pop_front();
  return step.line;
}

void Session::check_certificate() {
  const auto expiry = connection_->peer_expiry();
  if (!expiry) return;
  std::string reason;
  if (*expiry <= std::chrono::system_clock::now())
    reason = fmt::format("the certificate of the listener ran out at {}",
                         format_iso8601(std::chrono::time_point_cast<milliseconds>(*expiry)));
  else if (hub_->tls && hub_->tls->revoked(*connection_))
    reason = "the certificate of the listener is revoked by tls_crl";
  if (reason.empty()) return;
  if (hub_->complain(host_, fmt::format("{}: {}", view_.node, reason))) audit_refusal(reason);
  say_goodbye(reason);
}

void Session::say_goodbye(std::string reason) {
  if (!goodbye_) goodbye_ = std::move(reason);
  wake();
}

void Session::close() {
  if (connection_) connection_->close();
  boost::system::error_code ignored;
  socket_.close(ignored);
  over_ = true;
  wake();
}

void Session::cut(const std::string& reason) {
  hub_->complain(host_, greeted_ ? fmt::format("{}: {}", view_.node, reason) : reason);
  if (connection_ && !greeted_) connection_->last_words(encode(Goodbye{reason}));
  // Its owner is the coroutine that waits for the handshake.
  if (shaking_ >= 0) (void)::shutdown(shaking_, SHUT_RDWR);
  close();
}

void Session::forget_counts() {
  view_.counts = {};
  hub_->complain(host_, fmt::format("{}: its connections are not shown, as all listeners together "
                                    "count too many backends",
                                    view_.node));
}

void Session::forget_reports() {
  view_.orders = {};
  hub_->complain(host_, fmt::format("{}: its drains count as not done, as all listeners together "
                                    "report too many",
                                    view_.node));
}

void Session::handle(Feed feed) {
  wants_state_ = view_.takes_state = feed.wants_state;
  have_.reset();
  if (feed.have && hub_->feed.knows(*feed.have)) have_ = feed.have->sequence;
  wake();
}

void Session::handle(const Ack& ack) {
  view_.applied = ack.applied;
  if (ack.applied.epoch != hub_->feed.at().epoch) return;
  while (!sent_.empty() && sent_.front().sequence <= ack.applied.sequence) {
    view_.lag = std::chrono::duration_cast<milliseconds>(steady_clock::now() - sent_.front().at);
    sent_.pop_front();
  }
}

void Session::handle(const Resync&) {
  have_.reset();
  wake();
}

void Session::handle(Counts counts) {
  const auto before = [](const Counts::Item& a, const Counts::Item& b) {
    return std::tie(a.service, a.backend) < std::tie(b.service, b.backend);
  };
  std::vector<Counts::Item> next;
  if (counts.complete)
    next = std::move(counts.items);
  else  // of equal ones those of the first range
    std::set_union(counts.items.begin(), counts.items.end(), view_.counts.begin(),
                   view_.counts.end(), std::back_inserter(next), before);
  std::erase_if(next, [](const Counts::Item& item) { return item.connections == 0; });
  if (next.size() > limits::kCounts) next.resize(limits::kCounts);
  next.shrink_to_fit();
  view_.counts = std::move(next);
  for (const Hub::Id id : hub_->counts.hold(id_, view_.counts.size()))
    hub_->sessions.at(id)->forget_counts();
}

void Session::handle(OrderReport report) {
  view_.orders = merged(std::move(view_.orders), std::move(report));
  for (const Hub::Id id : hub_->reports.hold(id_, view_.orders.size()))
    hub_->sessions.at(id)->forget_reports();
}

void Session::handle(const Orders& orders) { hub_->adopt(host_, orders.orders, orders.refused); }

void Session::handle(const Goodbye& bye) {
  spdlog::info("relay: listener {} ({}) says goodbye: {}", view_.node, view_.address, bye.reason);
  close();  // or it would say so again and again
}

ListenerView Session::view(std::size_t backends) const {
  ListenerView out = view_;
  if (out.counts.size() > backends) {
    out.counts_left_out = out.counts.size() - backends;
    for (std::size_t i = backends; i < out.counts.size(); ++i)
      out.connections_left_out += out.counts[i].connections;
    out.counts.resize(backends);
  }
  const Position& at = hub_->feed.at();
  if (out.applied && out.applied->epoch == at.epoch && out.applied->sequence < at.sequence)
    out.behind = at.sequence - out.applied->sequence;
  return out;
}

}  // namespace lb::relay
