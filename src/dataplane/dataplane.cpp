#include "dataplane/dataplane.h"

#include <cerrno>
#include <utility>

namespace lb {

Result<Observed> Dataplane::read() {
  LB_TRY(const std::vector<ServiceKey> all, keys());
  return read_some(all);
}

Result<ObservedService> Dataplane::read(const ServiceKey& key) {
  LB_TRY(Observed observed, read_some({&key, 1}));
  if (observed.services.empty()) return fail(ENOENT, "read " + key.to_string());
  return std::move(observed.services.front());
}

}  // namespace lb
