#include "relay/fleet.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "relay/order_json.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;
using Known = FleetOrders::Known;

constexpr int kVersion = 1;
// A listener or an updater that was away for longer may bring an old drain back.
constexpr std::chrono::hours kRemembered{7 * 24};

auto subject(const FleetOrder& order) { return std::tie(order.target, order.service); }

bool by_subject(const Known& a, const Known& b) { return subject(a.order) < subject(b.order); }

// Every lbd must decide alike, whatever the order in which it hears of two.
bool newer(const FleetOrder& a, const FleetOrder& b) {
  return std::tie(a.time, a.id) > std::tie(b.time, b.id);
}

bool before(const FleetOrder& a, const FleetOrder& b) { return subject(a) < subject(b); }

// Of several for one target and service the one that is in force; sorted like what is known.
std::vector<FleetOrder> newest_of(std::vector<FleetOrder> orders) {
  std::sort(orders.begin(), orders.end(), [](const FleetOrder& a, const FleetOrder& b) {
    return before(a, b) || (!before(b, a) && newer(a, b));
  });
  const auto same = [](const FleetOrder& a, const FleetOrder& b) {
    return subject(a) == subject(b);
  };
  orders.erase(std::unique(orders.begin(), orders.end(), same), orders.end());
  return orders;
}

json to_json(const Known& known) {
  json out = to_json(known.order);
  if (known.ended) out["ended_at"] = format_iso8601(known.ended_at);
  return out;
}

Result<Known> known_from(const json& value) {
  Known out;
  LB_TRY(out.order, order_from_json(value));
  if (const auto ended = value.find("ended_at"); ended != value.end()) {
    out.ended = true;
    LB_TRY(out.ended_at, parse_iso8601(ended->get_ref<const std::string&>()));
  }
  return out;
}

// What is over the limits costs itself alone, and is named.
class Loaded {
 public:
  void take(const json& item) {
    auto known = known_from(item);
    if (!known) return drop(known.error().message());
    if (out_.size() >= limits::kOrders || size_ + size_of(known->order) > limits::kOrdersSize)
      return drop(fmt::format("there is no room for one of {}", printable(known->order.target)));
    size_ += size_of(known->order);
    out_.push_back(*std::move(known));
  }
  [[nodiscard]] std::vector<Known> take_all() { return std::move(out_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::string dropped(const std::string& path) const {
    if (dropped_ == 0) return {};
    return fmt::format("{}: {} order{} of the fleet {} left out, which is over the limits: {}",
                       path, dropped_, dropped_ == 1 ? "" : "s", dropped_ == 1 ? "was" : "were",
                       why_);
  }

 private:
  void drop(std::string why) {
    if (dropped_++ == 0) why_ = std::move(why);
  }

  std::vector<Known> out_;
  std::size_t size_ = 0;
  std::size_t dropped_ = 0;
  std::string why_;  // of the first
};

Result<> check_subjects(const std::vector<Known>& sorted) {
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (subject(sorted[i - 1].order) == subject(sorted[i].order))
      return fail(fmt::format("has two orders for {}", sorted[i].order.target));
  return {};
}

}  // namespace

std::size_t size_of(const FleetOrder& order) {
  std::size_t out = order.id.size() + order.target.size() + order.service.size();
  for (const std::string& id : order.ids) out += id.size();
  return out;
}

Result<> order_within_limits(const FleetOrder& order) {
  const auto too_long = [](const char* what, std::size_t size, std::size_t most) -> Result<> {
    return fail(E2BIG, fmt::format("an order with {} of {}, of which at most {} are taken", what,
                                   size, most));
  };
  if (order.id.size() > limits::kOrderId)
    return too_long("an id of bytes", order.id.size(), limits::kOrderId);
  if (order.target.size() > limits::kTarget)
    return too_long("a target of bytes", order.target.size(), limits::kTarget);
  if (order.service.size() > limits::kText)
    return too_long("a service of bytes", order.service.size(), limits::kText);
  if (order.ids.size() > limits::kOrderIds)
    return too_long("backends", order.ids.size(), limits::kOrderIds);
  if (size_of(order) > limits::kOrder)
    return too_long("a size in bytes", size_of(order), limits::kOrder);
  return {};
}

Result<FleetOrders> FleetOrders::open(std::string path) {
  FleetOrders out;
  Loaded loaded;
  LB_CHECK(load_saved(path, [&](std::string_view text) {
    return decode_json(text, kVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("orders").get_ref<const json::array_t&>()) loaded.take(item);
      out.known_ = loaded.take_all();
      std::sort(out.known_.begin(), out.known_.end(), by_subject);
      return check_subjects(out.known_);
    });
  }));
  out.size_ = loaded.size();
  out.dropped_ = loaded.dropped(path);
  out.path_ = std::move(path);
  return out;
}

FleetOrders FleetOrders::without(std::string path) {
  FleetOrders out;
  out.path_ = std::move(path);
  return out;
}

void FleetOrders::changed() {
  dirty_ = true;
  ++version_;
}

std::function<Result<>()> FleetOrders::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, orders = known_] {
    json list = json::array();
    for (const Known& known : orders) list.push_back(to_json(known));
    return write_file_atomically(path,
                                 encode_json({{"version", kVersion}, {"orders", std::move(list)}}));
  };
}

Result<bool> FleetOrders::adopt(const FleetOrder& order) {
  LB_CHECK(order_within_limits(order));
  const Heard heard = merge({order});
  if (heard.refused > 0) return fail(ENOSPC, heard.why);
  return heard.changed;
}

FleetOrders::Heard FleetOrders::hear(const std::vector<FleetOrder>& orders, SysTime now) {
  Heard out;
  const auto refuse = [&out](std::string why) {
    if (out.refused++ == 0) out.why = std::move(why);
  };
  std::vector<FleetOrder> good;
  for (const FleetOrder& order : orders) {
    const auto checked = order_within_limits(order);
    SysTime most = now + limits::kOrderAhead;
    if (const Known* known = find(order.target, order.service))
      most = std::max(most, known->order.time + limits::kOrderStep);
    if (!checked) {
      refuse(checked.error().context);
    } else if (order.time > most) {
      refuse(fmt::format("order {} of {} is dated {}, more than a day ahead: whose clock is wrong?",
                         order.id, order.target, format_iso8601(order.time)));
      if (ahead_.size() < limits::kOrdersAhead) ahead_.push_back(order);
    } else {
      good.push_back(order);
    }
  }
  Heard merged = merge(std::move(good));
  if (merged.refused > 0) refuse(std::move(merged.why));
  out.refused += merged.refused > 0 ? merged.refused - 1 : 0;
  out.changed = merged.changed;
  out.news = std::move(merged.news);
  out.more_news = merged.more_news;
  return out;
}

// In one pass over both, as there may be 10,000 of each.
FleetOrders::Heard FleetOrders::merge(std::vector<FleetOrder> orders) {
  Heard out;
  orders = newest_of(std::move(orders));
  std::size_t count = known_.size();
  std::size_t size = size_;
  std::vector<Known> fresh;  // of no known target and service
  auto at = known_.begin();
  for (FleetOrder& order : orders) {
    at = std::lower_bound(at, known_.end(), order, [](const Known& known, const FleetOrder& o) {
      return before(known.order, o);
    });
    const bool same = at != known_.end() && subject(at->order) == subject(order);
    if (same && !newer(order, at->order)) continue;
    const std::size_t after = size + size_of(order) - (same ? size_of(at->order) : 0);
    if ((!same && count >= limits::kOrders) || (after > size && after > limits::kOrdersSize)) {
      if (out.refused++ == 0)
        out.why = fmt::format("there are {} fleet drains and undrains; one of {} is too much",
                              count, order.target);
      continue;
    }
    out.changed = true;
    size = after;
    count += same ? 0 : 1;
    if (out.news.size() < kNews)
      out.news.push_back(order);
    else
      ++out.more_news;
    Known known{std::move(order), false, {}};
    if (same)
      *at = std::move(known);
    else
      fresh.push_back(std::move(known));
  }
  if (!out.changed) return out;
  const auto middle = static_cast<std::ptrdiff_t>(known_.size());
  std::move(fresh.begin(), fresh.end(), std::back_inserter(known_));
  std::inplace_merge(known_.begin(), known_.begin() + middle, known_.end(), by_subject);
  size_ = size;
  changed();
  return out;
}

Result<> FleetOrders::end(const std::set<std::string>& ids, SysTime now) {
  bool some = false;
  for (Known& known : known_) {
    if (known.ended || !ids.contains(known.order.id)) continue;
    known.ended = true;
    known.ended_at = now;
    some = true;
  }
  if (some) changed();
  return {};
}

Result<> FleetOrders::prune(SysTime now) {
  const auto gone = std::erase_if(known_, [&](const Known& known) {
    const bool over = known.ended || !known.order.drain;
    if (!over || (known.ended ? known.ended_at : known.order.time) >= now - kRemembered)
      return false;
    size_ -= size_of(known.order);
    return true;
  });
  if (gone > 0) changed();
  if (!ahead_.empty()) (void)hear(std::exchange(ahead_, {}), now);
  return {};
}

const FleetOrders::Known* FleetOrders::find(const std::string& target,
                                            const std::string& service) const {
  const auto wanted = std::tie(target, service);
  const auto at =
      std::lower_bound(known_.begin(), known_.end(), wanted,
                       [](const Known& known, const auto& w) { return subject(known.order) < w; });
  return at == known_.end() || subject(at->order) != wanted ? nullptr : &*at;
}

}  // namespace lb
