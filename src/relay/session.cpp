#include "relay/session.h"

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
#include "base/spawn.h"

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
// Before the hello nobody is trusted with more. Room for 4,000 orders.
constexpr std::size_t kHelloLimit = std::size_t{1} << 20;
constexpr std::size_t kMaxUnacknowledged = 64;

// Its default address is in no message that listeners send.
const IpAddress kNoPublish;

}  // namespace

Session::Session(std::shared_ptr<Hub> hub, asio::ip::tcp::socket socket,
                 std::shared_ptr<asio::ssl::context> tls)
    : hub_(std::move(hub)),
      socket_(std::move(socket)),
      tls_(std::move(tls)),
      wake_(socket_.get_executor()) {}

asio::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  boost::system::error_code unknown;
  const auto peer = socket_.remote_endpoint(unknown);
  host_ = unknown ? "?" : peer.address().to_string();
  const auto greeted = co_await greet();
  if (greeted) {
    spawn(hub_->io, "relay session", [self] { return self->write_all(); });
    co_await read_all();
  } else if (greeted.error().code != std::errc::no_message_available) {
    hub_->complain(host_, greeted.error().message());
    if (connection_) {
      goodbye_ = greeted.error().message();
      co_await refuse();
    }
  }
  over_ = true;
  wake();
  hub_->leave(self);
}

// There is no writer yet.
asio::awaitable<void> Session::refuse() {
  const Line line = std::make_shared<const std::string>(encode(Goodbye{*goodbye_}));
  const auto written = co_await connection_->write(line, kParting);
  const auto deadline = steady_clock::now() + kParting;
  for (bool more = written.has_value(); more && steady_clock::now() < deadline;) {
    const auto ignored = co_await connection_->read_line(kHelloLimit, kParting);
    more = ignored.has_value();
  }
  connection_->close();
}

asio::awaitable<Result<>> Session::greet() {
  auto accepted = co_await Connection::accept(std::move(socket_), std::move(tls_), kHandshake);
  if (!accepted) co_return tl::unexpected(accepted.error());
  connection_ = *std::move(accepted);
  const auto line = co_await connection_->read_line(kHelloLimit, kHandshake);
  if (!line) {
    if (line.error().code == std::errc::timed_out)
      co_return fail(ETIMEDOUT, "connected, and said no hello");
    co_return tl::unexpected(line.error());
  }
  auto hello = understand(*line);
  if (!hello) co_return tl::unexpected(hello.error());
  if (hub_->stopped) co_return fail(ENODATA, "the updater stops");
  welcome(*std::move(hello));
  co_return Result<>();
}

Result<ListenerHello> Session::understand(std::string_view line) const {
  LB_TRY(auto message, decode(line, kNoPublish));
  auto* hello = message ? std::get_if<ListenerHello>(&*message) : nullptr;
  if (hello == nullptr && message && std::holds_alternative<UpdaterHello>(*message))
    return fail(EPROTO, "this is an updater, too: updaters do not connect to each other");
  if (hello == nullptr) return fail(EPROTO, "the first message is no hello");
  if (hello->protocol < 1)
    return fail(EPROTO, fmt::format("a hello without a protocol number that exists (here: 1 to {})",
                                    kProtocol));
  if (hello->node.empty()) return fail(EPROTO, "a hello without the name of its node");
  return std::move(*hello);
}

void Session::welcome(ListenerHello hello) {
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
  greeted_ = true;
  write_audit({.event = "listener-accepted",
               .who = "node=" + view_.node,
               .from = view_.address,
               .what = hello.observes ? "logger" : "listener",
               .why = view_.tls ? "its certificate" : "plain TCP lets in everybody"});
  hub_->adopt(hello.orders);
  handle(Feed{hello.wants_state, std::move(hello.have)});
  next_ping_ = steady_clock::now();  // it tells of the sources
  hub_->join(shared_from_this());
}

asio::awaitable<void> Session::read_all() {
  for (;;) {
    const milliseconds patience = goodbye_ ? milliseconds(kParting) : milliseconds(kDeadAfter);
    const auto line = co_await connection_->read_line(kLineLimit, patience);
    if (!line) {
      const auto& error = line.error();
      const bool quiet = goodbye_ || hub_->stopped ||
                         error.code == std::errc::no_message_available ||
                         error.code == std::errc::operation_canceled;
      if (!quiet) hub_->complain(host_, fmt::format("{}: {}", view_.node, error.message()));
      if (error.code == std::errc::message_size) say_goodbye(error.message());
      break;
    }
    if (goodbye_) continue;
    if (const auto taken = take(*line); !taken) {
      hub_->complain(host_, fmt::format("{}: {}", view_.node, taken.error().message()));
      say_goodbye(taken.error().message());
    }
  }
  spdlog::debug("relay: listener {} ({}) has gone", view_.node, view_.address);
}

asio::awaitable<void> Session::write_all() {
  const auto self = shared_from_this();
  UpdaterHello hello{kProtocol, hub_->node, hub_->version, hub_->feed.at(), {}};
  hello.orders = hub_->all_orders(orders_told_);
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
    check_expiry();
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

void Session::check_expiry() {
  const auto expiry = connection_->peer_expiry();
  if (!expiry || *expiry > std::chrono::system_clock::now()) return;
  const std::string reason =
      fmt::format("the certificate of the listener ran out at {}",
                  format_iso8601(std::chrono::time_point_cast<milliseconds>(*expiry)));
  hub_->complain(host_, fmt::format("{}: {}", view_.node, reason));
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

Result<> Session::take(std::string_view line) {
  LB_TRY(const auto message, decode(line, kNoPublish));
  if (message) std::visit([this](const auto& m) { handle(m); }, *message);
  return {};
}

void Session::handle(const Feed& feed) {
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

void Session::handle(const Counts& counts) {
  const auto before = [](const Counts::Item& a, const Counts::Item& b) {
    return std::tie(a.service, a.backend) < std::tie(b.service, b.backend);
  };
  std::vector<Counts::Item> next = counts.items;
  if (!counts.complete)
    std::set_difference(view_.counts.begin(), view_.counts.end(), counts.items.begin(),
                        counts.items.end(), std::back_inserter(next), before);
  std::erase_if(next, [](const Counts::Item& item) { return item.connections == 0; });
  std::sort(next.begin(), next.end(), before);
  next.shrink_to_fit();
  view_.counts = std::move(next);
}

void Session::handle(const OrderReport& report) { view_.orders = report.items; }

void Session::handle(const Orders& orders) { hub_->adopt(orders.orders); }

void Session::handle(const Goodbye& bye) {
  spdlog::info("relay: listener {} ({}) says goodbye: {}", view_.node, view_.address, bye.reason);
}

ListenerView Session::view() const {
  ListenerView out = view_;
  const Position& at = hub_->feed.at();
  if (out.applied && out.applied->epoch == at.epoch && out.applied->sequence < at.sequence)
    out.behind = at.sequence - out.applied->sequence;
  return out;
}

}  // namespace lb::relay
