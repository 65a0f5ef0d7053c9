#include "state/drain_index.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <variant>

namespace lb {
namespace {

std::string address_text(const ServiceKey& key) {
  return Address{key.address, key.port}.to_string();
}

// What names the same service in one way only; nullopt: a name.
std::optional<std::string> canonical(const std::string& service) {
  if (service.find("://") != std::string::npos) {
    const auto key = ServiceKey::parse(service);
    return key ? std::optional(key->to_string()) : std::nullopt;
  }
  const auto address = Address::parse(service);
  return address ? std::optional(address->to_string()) : std::nullopt;
}

}  // namespace

DrainIndex::DrainIndex(const std::vector<Drain>& drains) {
  for (std::size_t i = 0; i < drains.size(); ++i) {
    const Drain& drain = drains[i];
    const auto add = [&](ByService& to) {
      const std::string service = drain.service.value_or("");
      to[service].push_back(i);
      if (const auto same = canonical(service); same && *same != service) to[*same].push_back(i);
    };
    if (const auto* address = std::get_if<Address>(&drain.target)) {
      add(addresses_[*address]);
      continue;
    }
    const std::string& host = std::get<std::string>(drain.target);
    add(hosts_[host]);
    if (const auto ip = IpAddress::parse(host)) add(ips_[*ip]);
  }
}

std::vector<std::size_t> DrainIndex::covering(const std::vector<Drain>& drains,
                                              const Backend& backend, const ServiceKey& key,
                                              std::string_view service_name) const {
  Positions out;
  const auto collect = [&](const ByService& from) {
    const auto add = [&](std::string_view service) {
      const auto found = from.find(service);
      if (found == from.end()) return;
      for (const std::size_t i : found->second)
        if (covers(drains[i], backend, key, service_name)) out.push_back(i);
    };
    add("");
    if (from.size() == 1 && from.begin()->first.empty()) return;
    add(service_name);
    add(key.to_string());
    add(address_text(key));
  };
  const auto look = [&](const auto& map, const auto& wanted) {
    const auto found = map.find(wanted);
    if (found != map.end()) collect(found->second);
  };
  if (!addresses_.empty()) look(addresses_, backend.address);
  if (!hosts_.empty()) look(hosts_, backend.host);
  if (!ips_.empty()) look(ips_, backend.address.ip);
  if (out.size() > 1) {
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
  }
  return out;
}

}  // namespace lb
