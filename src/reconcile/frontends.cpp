#include "reconcile/frontends.h"

#include <algorithm>

#include <fmt/format.h>

namespace lb {
namespace {

const IpAddress& any_v4() {
  static const IpAddress address = IpAddress::v4(0);
  return address;
}

const IpAddress& any_v6() {
  static const IpAddress address;
  return address;
}

ServiceKey at(ServiceKey key, const IpAddress& address) {
  key.address = address;
  return key;
}

// Whoever claims an address by name goes before every wildcard.
bool claimed_by_name(const ServiceKey& key, const IpAddress& address, const DesiredState& desired) {
  return claims(desired, at(key, address)) ||
         (address == loopback_v6() && claims(desired, at(key, loopback_v4())));
}

// A wildcard stands for what its source may have, and nothing stands for what lbd itself dials.
bool may_have(const ServiceKey& key, const IpAddress& address, const DesiredState& desired) {
  const auto it = desired.find(key);
  const Reach* reach = it == desired.end() ? nullptr : it->second->reach.get();
  if (!reach) return true;
  const bool dialled =
      key.protocol == Protocol::Tcp &&
      std::any_of(reach->endpoints.begin(), reach->endpoints.end(), [&](const OwnEndpoint& own) {
        return own.address == Address{address, key.port};
      });
  if (dialled || !key.address.is_unspecified()) return !dialled;
  const bool alias = key.address.is_v4() && address == loopback_v6();
  return reach->claims.contains(alias ? loopback_v4() : address, true);
}

void expand_any_v4(const ServiceKey& key, const DesiredState& desired,
                   const std::vector<IpAddress>& local, std::vector<IpAddress>& out) {
  for (const IpAddress& address : local)
    if (address.is_v4() && !claimed_by_name(key, address, desired)) out.push_back(address);
  if (claims(desired, at(key, loopback_v4()))) return;  // which has the alias, too
  out.push_back(loopback_v4());
  if (!claims(desired, at(key, loopback_v6())) && !claims(desired, at(key, any_v6())))
    out.push_back(loopback_v6());
}

void expand_any_v6(const ServiceKey& key, const DesiredState& desired,
                   const std::vector<IpAddress>& local, std::vector<IpAddress>& out) {
  const ServiceKey v4 = at(key, any_v4());
  const bool v4_there = claims(desired, v4);
  const auto add = [&](const IpAddress& address) {
    if (address.is_v4() && v4_there && may_have(v4, address, desired)) return;
    if (!claimed_by_name(key, address, desired)) out.push_back(address);
  };
  for (const IpAddress& address : local) add(address);
  // A namespace whose loopback is down has no address there, and still may be connected to.
  add(loopback_v4());
  add(loopback_v6());
}

}  // namespace

const IpAddress& loopback_v4() {
  static const IpAddress address = IpAddress::v4(0x7f000001);
  return address;
}

const IpAddress& loopback_v6() {
  static const IpAddress address = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return address;
}

bool claims(const DesiredState& desired, const ServiceKey& key) {
  const auto it = desired.find(key);
  return it != desired.end() && !it->second->removed && it->second->condition != Condition::Refused;
}

std::vector<IpAddress> frontend_addresses(const ServiceKey& key, const DesiredState& desired,
                                          const std::vector<IpAddress>& local) {
  std::vector<IpAddress> out;
  if (!claims(desired, key)) return out;
  if (key.address == any_v4()) {
    expand_any_v4(key, desired, local, out);
  } else if (key.address == any_v6()) {
    expand_any_v6(key, desired, local, out);
  } else {
    out.push_back(key.address);
    if (key.address == loopback_v4() && !claims(desired, at(key, loopback_v6())))
      out.push_back(loopback_v6());
  }
  std::erase_if(out, [&](const IpAddress& a) { return !may_have(key, a, desired); });
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<IpAddress> without_blocked(const ServiceKey& key, std::vector<IpAddress> addresses,
                                       const std::set<IpAddress>& blocked) {
  // For :: the address ::1 is no alias but one of its own.
  const bool alias_too = key.address.is_v4() && blocked.contains(loopback_v4());
  std::erase_if(addresses, [&](const IpAddress& address) {
    return blocked.contains(address) || (alias_too && address == loopback_v6());
  });
  return addresses;
}

std::vector<IpAddress> withheld_addresses(const DesiredService& service,
                                          const std::vector<IpAddress>& addresses,
                                          const HostView& host) {
  std::vector<IpAddress> out;
  if (!service.reach || (service.reach->of_host && !host.known)) return out;
  for (const IpAddress& address : addresses)
    if (!address.is_loopback() && !service.reach->publish.contains(address, host.has(address)))
      out.push_back(address);
  return out;
}

// Asked of each service at each plan: what most of them have is told apart first.
std::string why_local_only(const DesiredService& service, const DesiredState& desired,
                           const HostView& host) {
  const IpAddress& own = service.key.address;
  if (!service.reach || own.is_loopback()) return {};
  const AddressRanges &claims = service.reach->claims, &publish = service.reach->publish;
  if (!own.is_unspecified()) {
    // One that is not this host's was named in the configuration, for local clients.
    if (!host.has(own) || publish.contains(own, true)) return {};
    return fmt::format(
        "{0} is not among the addresses of [publish]: addresses = [\"{0}\"] there would let "
        "clients of other hosts in",
        own.to_string());
  }
  // Whatever addresses this host may get.
  if (claims.names_this_host() && publish.names_this_host()) return {};
  const auto addresses = frontend_addresses(service.key, desired, host.addresses);
  const auto withheld = withheld_addresses(service, addresses, host);
  const auto is_served = [&](const IpAddress& a) {
    return !a.is_loopback() && std::find(withheld.begin(), withheld.end(), a) == withheld.end();
  };
  if (std::any_of(addresses.begin(), addresses.end(), is_served)) return {};
  // Another service may have them.
  const auto may_be_served = [&](const IpAddress& a) {
    return !a.is_loopback() && (!own.is_v4() || a.is_v4()) && claims.contains(a, true) &&
           publish.contains(a, true);
  };
  if (std::any_of(host.addresses.begin(), host.addresses.end(), may_be_served)) return {};
  return fmt::format(
      "source {} may publish at none of this host's addresses: address = \"{}\" in [publish] would "
      "let it, or those of them that addresses there names",
      service.source, own.to_string());
}

std::array<ServiceKey, 4> dependents(const ServiceKey& key) {
  return {key, at(key, loopback_v4()), at(key, any_v4()), at(key, any_v6())};
}

}  // namespace lb
