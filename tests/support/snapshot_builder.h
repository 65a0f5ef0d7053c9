// Short ways to write what sources say, in tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/service.h"

namespace lb {

// "10.0.0.1:80" or "[::1]:80"; host and id are what a source without names uses.
inline Backend listed(std::string_view address, std::uint32_t weight = kDefaultWeight) {
  Backend b;
  b.address = Address::parse(address).value();
  b.id = std::string(address);
  b.host = b.address.ip.to_string();
  b.weight = weight;
  return b;
}

inline Backend listed(std::string_view address, BackendState state, Reason reason = Reason::None) {
  Backend b = listed(address);
  b.state = state;
  b.reason = reason;
  return b;
}

inline ServicePtr offered(std::string_view at, std::vector<Backend> backends,
                          std::string_view name = "web") {
  auto service = std::make_shared<Service>();
  service->key = ServiceKey::parse(at).value();
  service->name = std::string(name);
  service->origin = "test.toml";
  service->backends = std::move(backends);
  std::sort(service->backends.begin(), service->backends.end(),
            [](const Backend& a, const Backend& b) { return a.address < b.address; });
  return service;
}

inline Snapshot snapshot(std::vector<ServicePtr> services, Absence absence = Absence::Believed) {
  Snapshot out;
  out.services = std::move(services);
  std::sort(out.services.begin(), out.services.end(),
            [](const ServicePtr& a, const ServicePtr& b) { return a->key < b->key; });
  out.absence = absence;
  return out;
}

}  // namespace lb
