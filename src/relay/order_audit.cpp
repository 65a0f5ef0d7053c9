#include "relay/order_audit.h"

#include <spdlog/spdlog.h>

#include "base/audit.h"

namespace lb {

void audit_news(const FleetOrders::Heard& heard, const std::string& by) {
  for (const FleetOrder& order : heard.news)
    write_audit(
        {.event = order.drain ? "fleet-drain" : "fleet-undrain",
         .who = order.is_signed() ? "key=" + order.key : by,
         .from = by,
         .what = order.service.empty() ? order.target : order.target + " service=" + order.service,
         .why = "order " + order.id});
  if (heard.more_news > 0)
    spdlog::info("{} {} more drains and undrains of the fleet came with these", by,
                 heard.more_news);
}

}  // namespace lb
