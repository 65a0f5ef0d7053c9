#include "relay/outbox.h"

#include <algorithm>
#include <tuple>

namespace lb::relay {

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
  Age& age = known_[{order.target, order.service}];
  age = std::max(age, Age{order.time, order.id});
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
  for (const auto& [order, ended, ended_at] : orders) {
    const auto known = known_.find({order.target, order.service});
    if (known != known_.end() && known->second >= Age{order.time, order.id}) continue;
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
  if (report_ != told_report_) {
    told_report_ = report_;
    return OrderReport{*report_};
  }
  if (!ping_) return std::nullopt;
  if (counts_ != told_counts_)
    if (auto counts = next_counts()) return counts;
  ping_ = false;
  return Ping{};
}

std::optional<Message> Outbox::next_counts() {
  const CountsPtr before = std::exchange(told_counts_, counts_);
  if (!before) return Counts{.complete = true, .items = *counts_};
  auto items = count_changes(*before, *counts_);
  if (items.empty()) return std::nullopt;
  return Counts{.complete = false, .items = std::move(items)};
}

}  // namespace lb::relay
