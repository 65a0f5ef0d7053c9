#include "relay/outbox.h"

#include <algorithm>
#include <tuple>

#include "base/limits.h"
#include "relay/order_json.h"

namespace lb::relay {
namespace {

// Of counts and of reports, which take up to 100 bytes: limits::kPiece.
constexpr std::size_t kItems = limits::kPiece / 100;
// What an updater can make us remember of its orders. What it tells beyond that it is told again.
constexpr std::size_t kKnownAtMost = 2 * limits::kOrders;

auto age_of(const FleetOrder& order) { return std::tuple(order.time, order.id, order.expires); }

}  // namespace

std::vector<FleetOrder> first_piece(const std::vector<FleetOrders::Known>& orders) {
  std::vector<FleetOrder> out;
  std::size_t size = 0;
  for (const FleetOrders::Known& known : orders) {
    size += text_size(known.order);
    if (size > limits::kPiece && !out.empty()) break;
    out.push_back(known.order);
  }
  return out;
}

std::vector<Counts::Item> count_changes(const std::vector<Counts::Item>& before,
                                        const std::vector<Counts::Item>& after) {
  std::vector<Counts::Item> out;
  const auto less = [](const Counts::Item& a, const Counts::Item& b) {
    return std::tie(a.service, a.backend) < std::tie(b.service, b.backend);
  };
  auto old = before.begin();
  const auto gone = [&out](Counts::Item item) {
    item.connections = 0;
    out.push_back(std::move(item));
  };
  for (const Counts::Item& item : after) {
    for (; old != before.end() && less(*old, item); ++old) gone(*old);
    const bool same_place = old != before.end() && !less(item, *old);
    if (!same_place || old->connections != item.connections) out.push_back(item);
    if (same_place) ++old;
  }
  std::for_each(old, before.end(), gone);
  return out;
}

void Outbox::restart(const std::vector<FleetOrder>& orders) {
  CountsPtr counts = std::move(counts_);
  ReportPtr report = std::move(report_);
  *this = {};
  counts_ = std::move(counts);
  report_ = std::move(report);
  for (const FleetOrder& order : orders) knows(order);
}

void Outbox::heard(const std::vector<FleetOrder>& orders) {
  for (const FleetOrder& order : orders) knows(order);
}

void Outbox::knows(const FleetOrder& order) {
  const Target target{order.target, order.service};
  if (known_.size() >= kKnownAtMost && !known_.contains(target)) return;
  Age& age = known_[target];
  age = std::max(age, age_of(order));
}

void Outbox::feed(Feed feed) {
  feed_ = std::move(feed);
  resync_ = false;  // whoever is asked anew starts from what it says
}

void Outbox::resync() { resync_ = true; }

void Outbox::ack(Position position) {
  if (acked_ != position) ack_ = std::move(position);
}

std::vector<FleetOrder> Outbox::untold(const std::vector<FleetOrders::Known>& orders) {
  std::vector<FleetOrder> out;
  std::size_t size = 0;
  for (const auto& [order, ended, ended_at] : orders) {
    const auto known = known_.find({order.target, order.service});
    if (known != known_.end() && known->second >= age_of(order)) continue;
    size += text_size(order);
    if (size > limits::kPiece && !out.empty()) {
      orders_changed_ = true;  // the others are for the next piece
      break;
    }
    out.push_back(order);
    knows(order);
  }
  return out;
}

std::optional<Message> Outbox::next(const std::vector<FleetOrders::Known>& orders) {
  if (std::exchange(orders_changed_, false))
    if (auto news = untold(orders); !news.empty()) return Orders{std::move(news)};
  if (feed_) return *std::exchange(feed_, std::nullopt);
  if (std::exchange(resync_, false)) return Resync{};
  if (ack_) {
    acked_ = std::exchange(ack_, std::nullopt);
    return Ack{*acked_};
  }
  if (report_ != told_report_) return next_report();
  if (!ping_) return std::nullopt;
  if (auto counts = next_counts()) return counts;
  ping_ = false;
  return Ping{};
}

Message Outbox::next_report() {
  const auto begin = report_->begin() + static_cast<std::ptrdiff_t>(reported_);
  const std::size_t count = std::min(kItems, report_->size() - reported_);
  OrderReport out{{begin, begin + static_cast<std::ptrdiff_t>(count)}, reported_ == 0};
  reported_ += count;
  if (reported_ == report_->size()) told_report_ = report_;
  return out;
}

std::optional<Message> Outbox::next_counts() {
  Counts out;
  if (changes_.empty() && counts_ != told_counts_) {
    const CountsPtr before = std::exchange(told_counts_, counts_);
    out.complete = !before;
    changes_ = before ? count_changes(*before, *counts_) : *counts_;
    std::reverse(changes_.begin(), changes_.end());
  }
  if (changes_.empty() && !out.complete) return std::nullopt;
  for (; !changes_.empty() && out.items.size() < kItems; changes_.pop_back())
    out.items.push_back(changes_.back());
  return out;
}

}  // namespace lb::relay
