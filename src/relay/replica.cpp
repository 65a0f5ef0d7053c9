#include "relay/replica.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace lb::relay {
namespace {

Result<std::vector<ServicePtr>::iterator> find(std::vector<ServicePtr>& services,
                                               const ServiceRef& wanted) {
  const auto at = std::lower_bound(
      services.begin(), services.end(), wanted,
      [](const ServicePtr& service, const ServiceRef& ref) { return ref_of(*service) < ref; });
  if (at == services.end() || ref_of(**at) != wanted)
    return fail(ESTALE,
                fmt::format("a change of service {}, which is not in the state that it is for",
                            wanted.key.to_string()));
  return at;
}

bool by_address(const Backend& backend, const Address& address) {
  return backend.address < address;
}

Result<> patch(const BackendPatch& patch, Service& service) {
  std::vector<Backend>& backends = service.backends;
  for (const Address& gone : patch.gone) {
    const auto at = std::lower_bound(backends.begin(), backends.end(), gone, by_address);
    if (at == backends.end() || at->address != gone)
      return fail(ESTALE, fmt::format("the end of backend {} of service {}, which had none there",
                                      gone.to_string(), service.key.to_string()));
    backends.erase(at);
  }
  for (const Backend& set : patch.set) {
    const auto at = std::lower_bound(backends.begin(), backends.end(), set.address, by_address);
    if (at != backends.end() && at->address == set.address)
      *at = set;
    else
      backends.insert(at, set);
  }
  return {};
}

}  // namespace

ServiceRef ref_of(const Service& service) { return {service.key, service.default_address}; }

bool before(const ServicePtr& a, const ServicePtr& b) { return ref_of(*a) < ref_of(*b); }

bool follows(const Delta& delta, const std::optional<Position>& have) {
  return have && have->epoch == delta.at.epoch && have->sequence == delta.base &&
         delta.base < delta.at.sequence;
}

Result<> apply(const Delta& delta, std::vector<ServicePtr>& services) {
  std::vector<ServicePtr> next = services;
  // Before what is new: a service may come back under another key in the same delta.
  for (const ServiceRef& removed : delta.removed) {
    LB_TRY(const auto at, find(next, removed));
    next.erase(at);
  }
  for (const BackendPatch& change : delta.patched) {
    LB_TRY(const auto at, find(next, change.service));
    Service service = **at;
    LB_CHECK(patch(change, service));
    *at = std::make_shared<const Service>(std::move(service));
  }
  for (const ServicePtr& changed : delta.changed) {
    const auto at = std::lower_bound(next.begin(), next.end(), changed, before);
    if (at != next.end() && ref_of(**at) == ref_of(*changed))
      *at = changed;
    else
      next.insert(at, changed);
  }
  services = std::move(next);
  return {};
}

std::vector<ServicePtr> visible(const std::vector<ServicePtr>& services,
                                std::vector<std::string>& warnings) {
  std::vector<ServicePtr> out;
  out.reserve(services.size());
  for (const ServicePtr& service : services) {
    if (out.empty() || out.back()->key != service->key) {
      out.push_back(service);
      continue;
    }
    warnings.push_back(fmt::format(
        "service {} ({}) is left out: {} ({}) names this address, which is publish.address here",
        service->name, service->origin, out.back()->name, out.back()->origin));
  }
  return out;
}

}  // namespace lb::relay
