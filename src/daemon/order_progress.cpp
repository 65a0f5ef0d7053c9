#include "daemon/order_progress.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "base/limits.h"
#include "base/text.h"
#include "daemon/slices.h"

namespace lb {
namespace {

using Item = OrderProgress::Item;

bool by_id(const Item& a, const Item& b) { return a.id < b.id; }

Item* find(std::vector<Item>& items, const std::string& id) {
  const auto at = std::lower_bound(
      items.begin(), items.end(), id,
      [](const Item& item, const std::string& wanted) { return item.id < wanted; });
  return at != items.end() && at->id == id ? &*at : nullptr;
}

void add(Engine& engine, const ServiceKey& key, const Address& backend, Item& item) {
  const auto connections = engine.drain_watch().connections({key, backend});
  if (connections)
    item.connections = std::min(limits::kConnections, item.connections + connections->value_or(0));
  // What cannot be programmed is tried again; until then new connections go there.
  if (!connections || engine.reconciler().failures().contains(key)) item.programmed = false;
}

// By then the service may have gone, and the drain.
void add_service(Engine& engine, const ServiceKey& key, std::vector<Item>& items) {
  const auto found = engine.reconciler().desired().find(key);
  if (found == engine.reconciler().desired().end()) return;
  const DesiredService& service = *found->second;
  for (const DesiredBackend& b : service.backends)
    for (const Drain* drain : engine.drains().covering(b.backend, key, service.name))
      if (Item* item = drain->fleet.empty() ? nullptr : find(items, drain->fleet))
        add(engine, key, b.backend.address, *item);
}

}  // namespace

bool is_done(const Item& item) {
  return item.ended || !item.why.empty() || (item.programmed && item.connections == 0);
}

Result<Drain> drain_of(const FleetOrder& order) {
  Drain drain;
  LB_TRY(drain.target, Drain::parse_target(order.target));
  if (!order.service.empty()) drain.service = order.service;
  drain.since = order.time;
  drain.ids = order.ids;
  std::sort(drain.ids.begin(), drain.ids.end());
  drain.fleet = order.id;
  return drain;
}

std::vector<std::pair<ServiceKey, const Backend*>> covered_by(const Drain& drain,
                                                              const DesiredState& state) {
  std::vector<std::pair<ServiceKey, const Backend*>> out;
  for (const auto& [key, service] : state)
    for (const DesiredBackend& b : service->backends)
      if (covers(drain, b.backend, key, service->name)) out.emplace_back(key, &b.backend);
  return out;
}

void OrderProgress::add_programmed(const std::vector<std::string>& ids) {
  std::vector<std::string> all;
  std::set_union(programmed_.begin(), programmed_.end(), ids.begin(), ids.end(),
                 std::back_inserter(all));
  programmed_ = std::move(all);
}

void OrderProgress::keep_programmed(const std::vector<std::string>& ids) {
  std::erase_if(programmed_, [&](const std::string& id) {
    return !std::binary_search(ids.begin(), ids.end(), id);
  });
}

Item OrderProgress::first_of(const FleetOrders::Known& known) const {
  Item item;
  item.id = known.order.id;
  item.ended = known.ended;
  item.programmed =
      known.ended || std::binary_search(programmed_.begin(), programmed_.end(), item.id);
  return item;
}

Item OrderProgress::of(Engine& engine, const FleetOrders::Known& known) const {
  Item item = first_of(known);
  const auto drain = drain_of(known.order);
  if (known.ended || !drain) return item;
  for (const auto& [key, backend] : covered_by(*drain, engine.reconciler().desired()))
    add(engine, key, backend->address, item);
  return item;
}

std::vector<Item> OrderProgress::without_counts() const {
  std::vector<Item> items;
  items.reserve(orders_.all().size() + orders_.refused().size());
  for (const FleetOrders::Known& known : orders_.all())
    if (known.order.drain) items.push_back(first_of(known));
  for (const FleetOrders::Refused& refused : orders_.refused())
    if (refused.order.drain)
      items.push_back({.id = refused.order.id, .why = clipped(refused.why, limits::kWhy)});
  // A forged order may have the id of one that is in force: that one's report stays.
  std::stable_sort(items.begin(), items.end(), by_id);
  items.erase(std::unique(items.begin(), items.end(),
                          [](const Item& a, const Item& b) { return a.id == b.id; }),
              items.end());
  return items;
}

asio::awaitable<std::vector<Item>> OrderProgress::of_all(Engine& engine) const {
  std::vector<Item> items = without_counts();
  std::vector<ServiceKey> keys;
  if (!items.empty())
    for (const auto& [key, service] : engine.reconciler().desired()) keys.push_back(key);
  const auto add = [&](std::span<const ServiceKey> slice) {
    for (const ServiceKey& key : slice) add_service(engine, key, items);
  };
  co_await in_slices(std::move(keys), add);
  co_return items;
}

}  // namespace lb
