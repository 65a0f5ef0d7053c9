#include "daemon/dataplane_factory.h"

#include "dataplane/ebpf_dataplane.h"
#include "dataplane/none_dataplane.h"

namespace lb {

Result<std::unique_ptr<Dataplane>> open_dataplane(asio::io_context& io,
                                                  const DataplaneConfig& config) {
  if (config.mode == DataplaneMode::None) return std::make_unique<NoneDataplane>();
  // "auto" has one choice so far. It does not fall back to "none": a daemon that steers nothing
  // while its services look fine is worse than one that says why it does not start.
  return open_ebpf_dataplane(io, {.cgroup = config.cgroup,
                                  .bpffs = config.bpffs,
                                  .host_scope = config.scope == Scope::Host,
                                  .max_services = config.max_services,
                                  .max_backends = config.max_backends,
                                  .max_slots = config.max_slots});
}

Result<> detach_dataplane(const DataplaneConfig& config) {
  if (config.mode == DataplaneMode::None) return {};
  return detach_ebpf(config.bpffs);
}

}  // namespace lb
