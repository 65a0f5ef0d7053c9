#include "relay/hub.h"

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <random>
#include <tuple>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/limits.h"
#include "base/text.h"
#include "relay/order_audit.h"
#include "relay/order_json.h"
#include "relay/progress.h"
#include "relay/session.h"

namespace lb::relay {
namespace {

using std::chrono::steady_clock;

// What strangers can make us remember, and log.
constexpr std::size_t kMaxComplaints = 1'000;  // addresses
constexpr std::size_t kMaxReasons = 10;        // of one address in a minute
constexpr int kMaxLogged = 200;                // of all addresses in a minute
constexpr std::chrono::minutes kLogWindow{1};
constexpr std::size_t kMaxPieces = 64;  // kept encoded: most listeners have the same

// Nobody must take the states of two runs for one: the sequence begins anew.
std::string new_epoch() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

Hub::Hub(asio::io_context& context, FleetOrders& known, std::string host, std::string lbd,
         std::function<void()> on_change, Admission::Limits quotas)
    : io(context),
      node(std::move(host)),
      version(std::move(lbd)),
      feed(new_epoch()),
      decoder(context),
      unfinished(limits::kUnfinished, limits::kFreeRead),
      counts(limits::kAllCounts, limits::kFairShare),
      reports(limits::kAllReports, limits::kFairShare),
      orders_(known),
      changed_(std::move(on_change)),
      admission_(quotas) {
  orders_changed();
}

void Hub::adopt(const std::string& host, const std::vector<FleetOrder>& adopted,
                const std::string& refused) {
  if (stopped) return;
  if (!refused.empty()) complain(host, fmt::format("fleet drains are not taken over: {}", refused));
  if (adopted.empty()) return;
  const FleetOrders::Heard heard = orders_.hear(adopted, sys_now());
  if (heard.refused > 0)
    complain(host, fmt::format("fleet drains are not taken over: {}", heard.why));
  audit_news(heard, "listener=" + host);
  if (!heard.changed) return;
  orders_changed();
  if (changed_) changed_();
}

// Both are sorted alike: one pass, however many there are.
void Hub::orders_changed() {
  if (stopped) return;
  const auto& all = orders_.all();
  const std::uint64_t before = serial_;
  std::vector<Told> now;
  now.reserve(all.size());
  auto old = told_.begin();
  const auto subject = [](const FleetOrder& order) {
    return std::tie(order.target, order.service);
  };
  for (const FleetOrders::Known& known : all) {
    while (old != told_.end() && subject(old->order) < subject(known.order)) ++old;
    const bool same = old != told_.end() && old->order == known.order;
    now.push_back(same ? std::move(*old) : Told{known.order, ++serial_});
  }
  told_ = std::move(now);
  if (serial_ == before && by_serial_.size() == told_.size()) return;
  by_serial_.resize(told_.size());
  std::iota(by_serial_.begin(), by_serial_.end(), std::size_t{0});
  std::sort(by_serial_.begin(), by_serial_.end(),
            [&](std::size_t a, std::size_t b) { return told_[a].serial < told_[b].serial; });
  pieces_.clear();
  if (serial_ != before) wake_all();
}

std::vector<FleetOrder> Hub::piece_after(std::uint64_t& serial) const {
  std::vector<FleetOrder> out;
  std::size_t size = 0;
  auto at =
      std::upper_bound(by_serial_.begin(), by_serial_.end(), serial,
                       [&](std::uint64_t have, std::size_t i) { return have < told_[i].serial; });
  for (; at != by_serial_.end(); ++at) {
    const Told& told = told_[*at];
    size += text_size(told.order);
    if (size > limits::kPiece && !out.empty()) return out;
    out.push_back(told.order);
    serial = told.serial;
  }
  serial = serial_;  // also of those that are gone
  return out;
}

std::vector<FleetOrder> Hub::first_orders(std::uint64_t& serial) const {
  serial = 0;
  return piece_after(serial);
}

Line Hub::orders_after(std::uint64_t& serial) {
  if (serial == serial_) return nullptr;
  if (pieces_.size() >= kMaxPieces && !pieces_.contains(serial)) pieces_.clear();
  const auto [at, fresh] = pieces_.try_emplace(serial);
  Piece& piece = at->second;
  if (fresh) {
    piece.serial = serial;
    Orders message{piece_after(piece.serial)};
    if (!message.orders.empty()) piece.line = std::make_shared<const std::string>(encode(message));
  }
  serial = piece.serial;
  return piece.line;
}

Line Hub::ping() {
  if (!ping_) ping_ = std::make_shared<const std::string>(encode(feed.ping()));
  return ping_;
}

void Hub::wake_all() {
  for (const auto& [id, session] : sessions) session->wake();
}

bool Hub::complain(const std::string& host, const std::string& reason) {
  const auto now = steady_clock::now();
  const std::string owner = owner_of(host);
  if (complaints_.size() >= kMaxComplaints && !complaints_.contains(owner)) complaints_.clear();
  Complaints& known = complaints_[owner];
  if (known.reasons.size() >= kMaxReasons && now - known.since < kLogWindow) return false;
  if (known.reasons.size() >= kMaxReasons) known.reasons.clear();
  if (known.reasons.empty()) known.since = now;
  if (!known.reasons.insert(printable(reason, 300)).second) return false;
  if (now - log_since_ >= kLogWindow) {
    log_since_ = now;
    logged_ = 0;
  }
  if (++logged_ > kMaxLogged) return false;
  spdlog::warn("relay: {}: {} (logged once)", host, printable(reason, 300));
  return true;
}

void Hub::enter(const std::shared_ptr<Session>& session, const std::string& host) {
  sessions.emplace(session->id(), session);
  if (const auto victim = admission_.arrive(session->id(), owner_of(host)))
    evict(*victim, "connected, and said no hello before too many others came");
}

bool Hub::join(const std::shared_ptr<Session>& session) {
  const ListenerView& view = session->known();
  const std::string host = host_of(view.address);
  departed_.returned(view.node, host);
  if (const auto victim = admission_.greet(session->id())) {
    if (*victim == session->id()) return false;
    evict(*victim, "there are too many listeners, and most are of this address");
  }
  welcome(host);
  return true;
}

void Hub::leave(const std::shared_ptr<Session>& session) {
  sessions.erase(session->id());
  admission_.leave(session->id());
  for (Budget* budget : {&unfinished, &counts, &reports}) budget->release(session->id());
  if (!session->greeted()) return;
  ListenerView view = session->known();
  if (view.observes) return;
  view.connected = false;
  view.since = sys_now();
  const std::string host = host_of(view.address);
  departed_.add(std::move(view), host, steady_clock::now());
}

void Hub::evict(Id id, const std::string& reason) {
  const auto at = sessions.find(id);
  if (at == sessions.end()) return;
  const auto session = at->second;
  admission_.leave(id);
  session->cut(reason);
}

Result<> Hub::hold_unfinished(Id id, std::size_t size) {
  for (const Id victim : unfinished.hold(id, size)) {
    if (victim == id)
      return fail(ENOBUFS, "sends long messages while there are too many of them already");
    evict(victim, "sends a long message while there are too many of them");
  }
  return {};
}

template <class Visit>
void Hub::for_each_listener(Visit visit) const {
  std::set<std::pair<std::string, std::string>> here;  // node, host
  for (const auto& [id, session] : sessions) {
    if (!session->greeted()) continue;
    visit(session->known(), session.get());
    here.emplace(session->known().node, host_of(session->known().address));
  }
  const auto now = steady_clock::now();
  departed_.for_each([&](const ListenerView& view, const std::string& host, auto since) {
    if (now - since <= Departed::kRemembered && !here.contains({view.node, host}))
      visit(view, nullptr);
  });
}

std::vector<ListenerView> Hub::views() const {
  std::vector<ListenerView> out;
  std::size_t left = limits::kShownBackends;
  for_each_listener([&](const ListenerView& view, const Session* session) {
    out.push_back(session != nullptr ? session->view(left) : view);
    left -= out.back().counts.size();
  });
  std::sort(out.begin(), out.end(), [](const ListenerView& a, const ListenerView& b) {
    return std::tie(a.node, a.address) < std::tie(b.node, b.address);
  });
  return out;
}

FleetProgress Hub::progress(const FleetOrder& order, bool settled) const {
  FleetProgress out{order, {}, 0, settled};
  for_each_listener([&](const ListenerView& view, const Session*) { add_progress(view, out); });
  std::stable_sort(out.listeners.begin(), out.listeners.end(),
                   [](const auto& a, const auto& b) { return a.node < b.node; });
  return out;
}

std::set<std::string> Hub::ended(std::set<std::string> ids) const {
  std::size_t listeners = 0;
  for_each_listener([&](const ListenerView& view, const Session*) {
    if (view.observes) return;
    ++listeners;
    std::erase_if(ids, [&](const std::string& id) {
      const auto* item = item_of(view, id);
      return !view.connected || item == nullptr || !item->ended;
    });
  });
  return listeners == 0 ? std::set<std::string>() : ids;
}

std::string host_of(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

}  // namespace lb::relay
