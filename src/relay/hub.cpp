#include "relay/hub.h"

#include <algorithm>
#include <random>
#include <tuple>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/text.h"
#include "relay/session.h"

namespace lb::relay {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::minutes kRemembered{10};
// What strangers can make us remember.
constexpr std::size_t kMaxGone = 10'000;
constexpr std::size_t kMaxComplaints = 1'000;

// Nobody must take the states of two runs for one: the sequence begins anew.
std::string new_epoch() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

Hub::Hub(asio::io_context& context, FleetOrders& known, std::string host, std::string lbd,
         std::function<void()> on_change)
    : io(context),
      node(std::move(host)),
      version(std::move(lbd)),
      feed(new_epoch()),
      orders_(known),
      changed_(std::move(on_change)) {
  orders_changed();
}

void Hub::adopt(const std::vector<FleetOrder>& adopted) {
  if (stopped || adopted.empty()) return;
  const Result<bool> news = orders_.adopt(adopted);
  if (!news)
    spdlog::error("relay: fleet drains of a listener are not taken over: {}",
                  news.error().message());
  if (!news || !*news) return;
  orders_changed();
  if (changed_) changed_();
}

void Hub::orders_changed() {
  if (stopped) return;
  std::vector<FleetOrder> now;
  std::vector<std::uint64_t> serials;
  const std::uint64_t next = serial_ + 1;
  for (const FleetOrders::Known& known : orders_.all()) {
    const auto old = std::find(told_.begin(), told_.end(), known.order);
    now.push_back(known.order);
    serials.push_back(old == told_.end() ? next
                                         : serials_[static_cast<std::size_t>(old - told_.begin())]);
  }
  const bool news = std::find(serials.begin(), serials.end(), next) != serials.end();
  told_ = std::move(now);
  serials_ = std::move(serials);
  if (!news) return;
  serial_ = next;
  order_lines_.clear();
  wake_all();
}

const std::vector<FleetOrder>& Hub::all_orders(std::uint64_t& serial) const {
  serial = serial_;
  return told_;
}

Line Hub::orders_after(std::uint64_t& serial) {
  const std::uint64_t have = std::exchange(serial, serial_);
  if (have == serial_) return nullptr;
  Line& line = order_lines_[have];
  if (line) return line;
  Orders message;
  for (std::size_t i = 0; i < told_.size(); ++i)
    if (serials_[i] > have) message.orders.push_back(told_[i]);
  line = std::make_shared<const std::string>(encode(message));
  return line;
}

Line Hub::ping() {
  if (!ping_) ping_ = std::make_shared<const std::string>(encode(feed.ping()));
  return ping_;
}

void Hub::wake_all() {
  for (const auto& session : sessions) session->wake();
}

void Hub::complain(const std::string& host, const std::string& reason) {
  if (complaints_.size() >= kMaxComplaints) complaints_.clear();
  std::set<std::string>& known = complaints_[host];
  if (known.size() >= kMaxComplaints || !known.insert(reason).second) return;
  spdlog::warn("relay: {}: {} (logged once)", host, printable(reason, 300));
}

void Hub::join(const std::shared_ptr<Session>& session) {
  const ListenerView view = session->view();
  gone_.erase({view.node, host_of(view.address)});
  welcome(host_of(view.address));
}

void Hub::leave(const std::shared_ptr<Session>& session) {
  sessions.erase(session);
  if (!session->greeted()) return;
  ListenerView view = session->view();
  if (view.observes) return;
  const auto now = steady_clock::now();
  std::erase_if(gone_, [&](const auto& item) { return now - item.second.since > kRemembered; });
  if (gone_.size() >= kMaxGone) return;
  view.connected = false;
  view.since = sys_now();
  const Who who{view.node, host_of(view.address)};
  gone_.insert_or_assign(who, Gone{std::move(view), now});
}

std::vector<ListenerView> Hub::views() const {
  std::vector<ListenerView> out;
  std::set<Who> here;
  for (const auto& session : sessions) {
    if (!session->greeted()) continue;
    out.push_back(session->view());
    here.emplace(out.back().node, host_of(out.back().address));
  }
  const auto now = steady_clock::now();
  for (const auto& [who, gone] : gone_)
    if (now - gone.since <= kRemembered && !here.contains(who)) out.push_back(gone.view);
  std::sort(out.begin(), out.end(), [](const ListenerView& a, const ListenerView& b) {
    return std::tie(a.node, a.address) < std::tie(b.node, b.address);
  });
  return out;
}

FleetProgress progress_of(const FleetOrder& order, const std::vector<ListenerView>& listeners,
                          bool settled) {
  FleetProgress out{order, {}, 0, settled};
  for (const ListenerView& view : listeners) {
    if (view.observes) continue;
    FleetProgress::Listener listener{view.node, view.connected, false, false, 0};
    for (const OrderReport::Item& item : view.orders) {
      if (item.id != order.id) continue;
      listener.programmed = item.programmed;
      listener.ended = item.ended;
      listener.connections = item.connections;
    }
    out.connections += listener.connections;
    out.drained = out.drained && listener.connected && listener.programmed;
    out.listeners.push_back(std::move(listener));
  }
  out.drained = out.drained && out.connections == 0;
  return out;
}

std::string host_of(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

}  // namespace lb::relay
