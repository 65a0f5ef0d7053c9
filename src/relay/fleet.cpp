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
constexpr std::chrono::hours kRemembered = limits::kOrderLife;
// Signed in one go; each takes a tenth of a millisecond.
constexpr std::size_t kSignedAtOnce = 50;

auto subject(const FleetOrder& order) { return std::tie(order.target, order.service); }

bool by_subject(const Known& a, const Known& b) { return subject(a.order) < subject(b.order); }

// Every lbd must decide alike, whatever the order in which it hears of two.
bool newer(const FleetOrder& a, const FleetOrder& b) {
  return std::tie(a.time, a.id) > std::tie(b.time, b.id);
}

// The same order, vouched for longer.
bool renews(const FleetOrder& a, const FleetOrder& known) {
  return a.is_signed() && a.expires > known.expires && says_the_same(a, known);
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

Result<FleetOrders> FleetOrders::open(std::string path) {
  FleetOrders out = without(path);
  Loaded loaded;
  LB_CHECK(load_saved(path, [&](std::string_view text) {
    return decode_json(text, kVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("orders").get_ref<const json::array_t&>()) loaded.take(item);
      out.known_ = loaded.take_all();
      std::sort(out.known_.begin(), out.known_.end(), by_subject);
      if (const auto keys = root.find("keys"); keys != root.end()) out.keys_.restore(*keys);
      return check_subjects(out.known_);
    });
  }));
  out.size_ = loaded.size();
  out.dropped_ = loaded.dropped(path);
  return out;
}

FleetOrders FleetOrders::without(std::string path) {
  FleetOrders out;
  out.path_ = std::move(path);
  out.keys_ = OrderKeys::judging();
  return out;
}

void FleetOrders::changed() {
  dirty_ = true;
  ++version_;
}

std::function<Result<>()> FleetOrders::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, orders = known_, keys = keys_.saved()] {
    json list = json::array();
    for (const Known& known : orders) list.push_back(to_json(known));
    json root{{"version", kVersion}, {"orders", std::move(list)}};
    if (!keys.is_null()) root["keys"] = keys;
    return write_file_atomically(path, encode_json(root));
  };
}

Result<bool> FleetOrders::adopt(const FleetOrder& order) {
  LB_CHECK(order_within_limits(order));
  const Heard heard = merge({order});
  if (heard.refused > 0) return fail(ENOSPC, heard.why);
  return heard.changed;
}

// "": it is good.
std::string FleetOrders::why_refused(const FleetOrder& order, const Known* known,
                                     SysTime now) const {
  if (auto why = keys_.why_not(order, now); !why.empty()) return why;
  const bool crowded = 2 * known_.size() >= limits::kOrders || 2 * size_ >= limits::kOrdersSize;
  if (known == nullptr && crowded && keys_.is_unknown(order))
    return "is signed with an unknown key, and there are many orders already";
  SysTime most = now + limits::kOrderAhead;
  if (known != nullptr) most = std::max(most, known->order.time + limits::kOrderStep);
  if (order.time <= most) return {};
  return fmt::format("is dated {}, more than a day ahead: whose clock is wrong?",
                     format_iso8601(order.time));
}

FleetOrders::Heard FleetOrders::hear(const std::vector<FleetOrder>& orders, SysTime now) {
  Heard out;
  const auto count = [&out](std::string why) {
    if (out.refused++ == 0) out.why = std::move(why);
  };
  std::vector<FleetOrder> good;
  for (const FleetOrder& order : orders) {
    if (const auto checked = order_within_limits(order); !checked) {
      count(checked.error().context);
      continue;
    }
    // What says nothing new is no complaint: an old lbd tells the orders of others without their
    // signatures.
    const Known* known = find(order.target, order.service);
    if (known != nullptr && !newer(order, known->order) && !renews(order, known->order)) continue;
    std::string why = why_refused(order, known, now);
    if (why.empty()) {
      good.push_back(order);
      continue;
    }
    count(fmt::format("order {} of {} {}", order.id, order.target, why));
    refuse(order, std::move(why));
  }
  Heard merged = merge(std::move(good));
  if (merged.refused > 0) count(std::move(merged.why));
  out.refused += merged.refused > 0 ? merged.refused - 1 : 0;
  out.changed = merged.changed;
  out.news = std::move(merged.news);
  out.more_news = merged.more_news;
  return out;
}

// Of one target and service the newest.
void FleetOrders::refuse(const FleetOrder& order, std::string why) {
  const auto at = std::lower_bound(
      refused_.begin(), refused_.end(), order,
      [](const Refused& refused, const FleetOrder& o) { return before(refused.order, o); });
  if (at != refused_.end() && subject(at->order) == subject(order)) {
    if (!newer(at->order, order)) *at = {order, std::move(why)};
  } else if (refused_.size() < limits::kOrdersRefused) {
    refused_.insert(at, {order, std::move(why)});
  }
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
    const bool renewed = same && renews(order, at->order);
    if (same && !newer(order, at->order) && !renewed) continue;
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
    if (renewed) {
      at->order = std::move(order);
      continue;
    }
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

FleetOrders::Heard FleetOrders::prune(SysTime now) {
  const auto gone = std::erase_if(known_, [&](const Known& known) {
    const bool over = known.ended || !known.order.drain;
    if (!over || (known.ended ? known.ended_at : known.order.time) >= now - kRemembered)
      return false;
    size_ -= size_of(known.order);
    return true;
  });
  if (gone > 0) changed();
  std::vector<FleetOrder> again;
  for (Refused& refused : std::exchange(refused_, {})) again.push_back(std::move(refused.order));
  return again.empty() ? Heard{} : hear(again, now);
}

Result<> FleetOrders::renew(SysTime now) {
  std::vector<FleetOrder> fresh;
  for (const Known& known : known_) {
    if (!known.order.drain || known.ended || !keys_.wants_signing(known.order, now)) continue;
    fresh.push_back(known.order);
    LB_CHECK(keys_.sign(fresh.back(), now));
    if (fresh.size() == kSignedAtOnce) break;
  }
  (void)merge(std::move(fresh));
  return {};
}

void FleetOrders::change_keys(const std::function<bool(OrderKeys&)>& change) {
  if (change(keys_)) changed();
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
