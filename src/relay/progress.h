// How far an order is on the fleet, by what the listeners have reported. Pure.
#pragma once

#include <string>
#include <vector>

#include "relay/listener_view.h"

namespace lb::relay {

// Of a view whose orders are sorted by id. Null: it has reported nothing of this order.
[[nodiscard]] const OrderReport::Item* item_of(const ListenerView& view, const std::string& id);

void add_progress(const ListenerView& view, FleetProgress& out);
// `settled`: the listeners that exist have had the time to come.
[[nodiscard]] FleetProgress progress_of(const FleetOrder& order,
                                        const std::vector<ListenerView>& listeners, bool settled);

// What a listener says of its orders, sorted by id, with a further report, which is so, too. At most
// limits::kOrders.
[[nodiscard]] std::vector<OrderReport::Item> merged(std::vector<OrderReport::Item> before,
                                                    OrderReport report);

}  // namespace lb::relay
