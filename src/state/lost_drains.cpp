#include "state/lost_drains.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

namespace lb {
namespace {

// No source has named it so far, and so its host's name is not known: where the file is there, an order for
// any host may mean it, and says so when its source has spoken.
bool may_cover(const Drains& known, const Address& address) {
  return std::any_of(known.all().begin(), known.all().end(), [&](const Drain& drain) {
    if (const auto* target = std::get_if<Address>(&drain.target)) return *target == address;
    const auto ip = IpAddress::parse(std::get<std::string>(drain.target));
    return ip ? *ip == address.ip : known.loaded();
  });
}

bool is_covered(const ServiceKey& key, const Address& address, const View& view,
                const Drains& known) {
  const auto owned = std::lower_bound(
      view.services.begin(), view.services.end(), key,
      [](const OwnedService& s, const ServiceKey& k) { return s.service->key < k; });
  if (owned == view.services.end() || owned->service->key != key) return may_cover(known, address);
  const auto& backends = owned->service->backends;
  const auto found =
      std::lower_bound(backends.begin(), backends.end(), address,
                       [](const Backend& b, const Address& a) { return b.address < a; });
  return found != backends.end() && found->address == address
             ? known.matches(*found, *owned->service)
             : may_cover(known, address);
}

Drain order_of(const Address& address, std::optional<std::string> service, SysTime now) {
  return {.target = address,
          .service = std::move(service),
          .since = now,
          .terminate_at = std::nullopt,
          .ids = {}};
}

}  // namespace

std::vector<Drain> lost_drains(const Observed& observed, const View& view, const Drains& known,
                               bool guess, SysTime now) {
  struct Found {
    std::size_t services = 0;
    std::vector<ServiceKey> drained;
  };
  std::map<Address, Found> all;
  for (const ObservedService& service : observed.services)
    for (const ObservedBackend& b : service.backends) {
      if (!b.listed) continue;
      Found& found = all[b.address];
      ++found.services;
      const bool out = b.drained || (guess && b.unexplained && b.weight == 0);
      if (out && !is_covered(service.key, b.address, view, known))
        found.drained.push_back(service.key);
    }
  std::vector<Drain> orders;
  for (const auto& [address, found] : all) {
    if (!found.drained.empty() && found.drained.size() == found.services) {
      orders.push_back(order_of(address, std::nullopt, now));
      continue;
    }
    for (const ServiceKey& key : found.drained)
      orders.push_back(order_of(address, key.to_string(), now));
  }
  return orders;
}

}  // namespace lb
