// What has become of a source's services, told back to the source.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/service.h"

namespace lb {

struct BackendReport {
  std::string id;
  Address address;
  std::uint32_t effective_weight = 0;                 // above 0: gets new connections now
  std::optional<std::uint64_t> active_connections{};  // nullopt: not counted (UDP), or not known
};

struct ServiceReport {
  ServiceKey key;
  std::vector<BackendReport> backends;
};

}  // namespace lb
