#include "dataplane/none_dataplane.h"

namespace lb {
namespace {

ObservedService observe(const ProgrammedService& service) {
  ObservedService observed{service.key, service.addresses, service.balance, {}};
  for (const ProgrammedBackend& b : service.backends) {
    ObservedBackend backend;
    backend.address = b.address;
    backend.listed = true;
    backend.weight = b.weight;
    backend.drained = b.drained;
    if (service.key.protocol == Protocol::Tcp) backend.active_connections = 0;
    observed.backends.push_back(backend);
  }
  observed.withheld = service.withheld;
  return observed;
}

}  // namespace

Result<std::vector<ServiceKey>> NoneDataplane::keys() {
  std::vector<ServiceKey> out;
  for (const auto& [key, service] : services_) out.push_back(key);
  return out;
}

Result<Observed> NoneDataplane::read_some(std::span<const ServiceKey> keys) {
  Observed out;
  for (const ServiceKey& key : keys)
    if (const auto it = services_.find(key); it != services_.end())
      out.services.push_back(observe(it->second));
  return out;
}

Result<> NoneDataplane::upsert(const ProgrammedService& service) {
  services_.insert_or_assign(service.key, service);
  return {};
}

Result<> NoneDataplane::remove(const ServiceKey& key) {
  services_.erase(key);
  return {};
}

DataplaneInfo NoneDataplane::info() const {
  DataplaneInfo info;
  info.mode = "none";
  info.used_services = services_.size();
  for (const auto& [key, service] : services_) info.used_backends += service.backends.size();
  info.notes.emplace_back("mode none: nothing is programmed, connections are not redirected");
  return info;
}

}  // namespace lb
