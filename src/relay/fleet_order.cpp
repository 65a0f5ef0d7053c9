#include "relay/fleet_order.h"

#include <cerrno>
#include <tuple>

#include <fmt/format.h>

#include "base/limits.h"

namespace lb {

std::size_t size_of(const FleetOrder& order) {
  std::size_t out = order.id.size() + order.target.size() + order.service.size() +
                    order.key.size() + order.signature.size();
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

bool says_the_same(const FleetOrder& a, const FleetOrder& b) {
  const auto words = [](const FleetOrder& o) {
    return std::tie(o.id, o.time, o.target, o.service, o.drain, o.ids);
  };
  return words(a) == words(b);
}

}  // namespace lb
