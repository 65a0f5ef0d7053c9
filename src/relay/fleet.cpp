#include "relay/fleet.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "relay/order_json.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;
using Known = FleetOrders::Known;

constexpr int kVersion = 1;
constexpr std::size_t kMaxOrders = 10'000;  // each is looked at for each backend
// A listener or an updater that was away for longer may bring an old drain back.
constexpr std::chrono::hours kRemembered{7 * 24};

auto subject(const FleetOrder& order) { return std::tie(order.target, order.service); }

bool by_subject(const Known& a, const Known& b) { return subject(a.order) < subject(b.order); }

// Every lbd must decide alike, whatever the order in which it hears of two.
bool newer(const FleetOrder& a, const FleetOrder& b) {
  return std::tie(a.time, a.id) > std::tie(b.time, b.id);
}

// false: known, or older.
bool add(const FleetOrder& order, std::vector<Known>& all) {
  Known fresh{order, false, {}};
  const auto at = std::lower_bound(all.begin(), all.end(), fresh, by_subject);
  if (at == all.end() || subject(at->order) != subject(order))
    all.insert(at, std::move(fresh));
  else if (newer(order, at->order))
    *at = std::move(fresh);
  else
    return false;
  return true;
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

Result<std::vector<Known>> known_from_file(const json& root) {
  std::vector<Known> out;
  for (const json& item : root.at("orders").get_ref<const json::array_t&>()) {
    LB_TRY(Known known, known_from(item));
    out.push_back(std::move(known));
  }
  std::sort(out.begin(), out.end(), by_subject);
  for (std::size_t i = 1; i < out.size(); ++i)
    if (subject(out[i - 1].order) == subject(out[i].order))
      return fail(fmt::format("has two orders for {}", out[i].order.target));
  return out;
}

}  // namespace

Result<FleetOrders> FleetOrders::open(std::string path) {
  FleetOrders out;
  LB_CHECK(load_saved(path, [&](std::string_view text) {
    return decode_json(text, kVersion, [&](const json& root) -> Result<> {
      LB_TRY(out.known_, known_from_file(root));
      return {};
    });
  }));
  out.path_ = std::move(path);
  return out;
}

FleetOrders FleetOrders::without(std::string path) {
  FleetOrders out;
  out.path_ = std::move(path);
  return out;
}

Result<> FleetOrders::replace(std::vector<Known> next) {
  known_ = std::move(next);
  dirty_ = true;
  ++version_;
  return {};
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

Result<bool> FleetOrders::adopt(const FleetOrder& order) { return adopt(std::vector{order}); }

Result<bool> FleetOrders::adopt(const std::vector<FleetOrder>& orders) {
  std::vector<Known> next = known_;
  bool changed = false;
  for (const FleetOrder& order : orders) changed = add(order, next) || changed;
  if (!changed) return false;
  if (next.size() > kMaxOrders)
    return fail(ENOSPC, fmt::format("there are {} fleet drains and undrains; one of {} is too much",
                                    known_.size(), orders.front().target));
  LB_CHECK(replace(std::move(next)));
  return true;
}

Result<> FleetOrders::end(const std::string& id, SysTime now) {
  std::vector<Known> next = known_;
  const auto at = std::find_if(next.begin(), next.end(), [&](const Known& known) {
    return known.order.id == id && !known.ended;
  });
  if (at == next.end()) return {};
  at->ended = true;
  at->ended_at = now;
  return replace(std::move(next));
}

Result<> FleetOrders::prune(SysTime now) {
  std::vector<Known> next = known_;
  std::erase_if(next, [&](const Known& known) {
    const bool over = known.ended || !known.order.drain;
    return over && (known.ended ? known.ended_at : known.order.time) < now - kRemembered;
  });
  if (next.size() == known_.size()) return {};
  return replace(std::move(next));
}

const FleetOrders::Known* FleetOrders::find(const std::string& target,
                                            const std::string& service) const {
  const auto at = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.order.target == target && known.order.service == service;
  });
  return at == known_.end() ? nullptr : &*at;
}

}  // namespace lb
