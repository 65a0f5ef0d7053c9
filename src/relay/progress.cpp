#include "relay/progress.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/limits.h"

namespace lb::relay {

const OrderReport::Item* item_of(const ListenerView& view, const std::string& id) {
  const auto at = std::lower_bound(
      view.orders.begin(), view.orders.end(), id,
      [](const OrderReport::Item& item, const std::string& wanted) { return item.id < wanted; });
  return at == view.orders.end() || at->id != id ? nullptr : &*at;
}

// Done is what each of them has reported to be done: no sum of numbers that others send decides.
void add_progress(const ListenerView& view, FleetProgress& out) {
  if (view.observes) return;
  FleetProgress::Listener listener{view.node, view.connected, false, false, 0};
  if (const auto* item = item_of(view, out.order.id)) {
    listener.programmed = item->programmed;
    listener.ended = item->ended;
    listener.connections = item->connections;
    listener.why = item->why;
  }
  out.connections += listener.connections;  // of each at most limits::kConnections
  out.drained =
      out.drained && listener.connected && listener.programmed && listener.connections == 0;
  out.listeners.push_back(std::move(listener));
}

FleetProgress progress_of(const FleetOrder& order, const std::vector<ListenerView>& listeners,
                          bool settled) {
  FleetProgress out{order, {}, 0, settled};
  for (const ListenerView& view : listeners) add_progress(view, out);
  return out;
}

std::vector<OrderReport::Item> merged(std::vector<OrderReport::Item> before, OrderReport report) {
  std::vector<OrderReport::Item> out;
  if (report.complete)
    out = std::move(report.items);
  else  // of equal ones those of the first range
    std::set_union(
        report.items.begin(), report.items.end(), before.begin(), before.end(),
        std::back_inserter(out),
        [](const OrderReport::Item& a, const OrderReport::Item& b) { return a.id < b.id; });
  if (out.size() > limits::kOrders) out.resize(limits::kOrders);
  out.shrink_to_fit();
  return out;
}

}  // namespace lb::relay
