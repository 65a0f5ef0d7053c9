#include "relay/order_json.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/text.h"
#include "state/drain.h"
#include "state/json_codec.h"

namespace lb {

using nlohmann::json;

json to_json(const FleetOrder& order) {
  json out{{"id", order.id},
           {"time", format_iso8601(order.time)},
           {"target", order.target},
           {"drain", order.drain}};
  if (!order.service.empty()) out["service"] = order.service;
  if (!order.ids.empty()) out["ids"] = order.ids;
  if (order.is_signed()) {
    out["key"] = order.key;
    out["expires"] = format_iso8601(order.expires);
    out["signature"] = order.signature;
  }
  return out;
}

std::size_t text_size(const FleetOrder& order) { return encode_json(to_json(order)).size(); }

Result<FleetOrder> order_from_json(const json& value) {
  FleetOrder out;
  out.id = value.at("id").get_ref<const std::string&>();
  if (out.id.empty() || out.id.size() > limits::kOrderId || printable(out.id, 100) != out.id)
    return fail(EBADMSG, fmt::format("an order has the id '{}'", printable(out.id, 100)));
  LB_TRY(out.time, parse_iso8601(value.at("time").get_ref<const std::string&>()));
  out.target = value.at("target").get_ref<const std::string&>();
  const auto target = Drain::parse_target(out.target);
  if (!target && target.error().code == std::errc::argument_list_too_long)
    return fail(E2BIG, fmt::format("order {}: {}", out.id, target.error().context));
  if (!target) return fail(EBADMSG, fmt::format("order {}: {}", out.id, target.error().message()));
  out.drain = value.at("drain").get<bool>();
  out.service = value.value("service", std::string());
  if (const auto ids = value.find("ids"); ids != value.end()) {
    if (ids->size() > limits::kOrderIds)
      return fail(E2BIG, fmt::format("order {} names {} backends", out.id, ids->size()));
    ids->get_to(out.ids);
  }
  if (const auto key = value.find("key"); key != value.end()) {
    out.key = key->get_ref<const std::string&>();
    out.signature = value.at("signature").get_ref<const std::string&>();
    LB_TRY(out.expires, parse_iso8601(value.at("expires").get_ref<const std::string&>()));
  }
  std::sort(out.ids.begin(), out.ids.end());
  out.ids.erase(std::unique(out.ids.begin(), out.ids.end()), out.ids.end());
  LB_CHECK(order_within_limits(out));
  return out;
}

}  // namespace lb
