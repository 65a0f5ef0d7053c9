#include "reconcile/frontends.h"

#include <algorithm>

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
  const bool v4_taken = claims(desired, at(key, any_v4()));
  const auto add = [&](const IpAddress& address) {
    if (address.is_v4() && v4_taken) return;
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

std::array<ServiceKey, 4> dependents(const ServiceKey& key) {
  return {key, at(key, loopback_v4()), at(key, any_v4()), at(key, any_v6())};
}

}  // namespace lb
