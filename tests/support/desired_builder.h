// Short ways to write desired services in tests.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "model/desired.h"

namespace lb {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline Address addr(std::string_view text) { return Address::parse(text).value(); }
// Unlike ServiceKey::parse it is never wrong in a test: 0.0.0.0 and :: included.
inline ServiceKey key(std::string_view text) { return ServiceKey::parse(text).value(); }

inline DesiredBackend backend(std::string_view address, std::uint32_t weight = kDefaultWeight) {
  DesiredBackend b;
  b.backend.address = addr(address);
  b.backend.id = std::string(address);
  b.backend.weight = weight;
  b.effective_weight = weight;
  return b;
}

inline DesiredService service(std::string_view at, std::vector<DesiredBackend> backends = {}) {
  DesiredService s;
  s.key = key(at);
  s.name = std::string(at);
  s.source = "test";
  s.backends = std::move(backends);
  return s;
}

inline DesiredState state(std::vector<DesiredService> services) {
  DesiredState desired;
  for (DesiredService& s : services) {
    const ServiceKey k = s.key;
    desired.emplace(k, std::make_shared<const DesiredService>(std::move(s)));
  }
  return desired;
}

}  // namespace lb
