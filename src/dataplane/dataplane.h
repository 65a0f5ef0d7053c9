// What the kernel is asked to do. Implementations: ebpf, ipvs, nft (clients of other hosts), none. The contract
// for each: upsert is idempotent, removing the absent succeeds, reading shows what the kernel really
// has, and a call that fails leaves what was programmed before in force.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/programmed.h"

namespace lb {

// Something that this kernel does not let lbd have, and what is so without it.
struct LostAbility {
  std::string what;  // "iter/udp"
  std::string why;   // the kernel's answer
  std::string loss;  // one sentence
};

// What is in force, for `lbctl status`.
struct DataplaneInfo {
  std::string mode;    // "ebpf", "ipvs", "none"
  std::string cgroup;  // where the hooks are attached
  std::string bpffs;
  std::uint64_t max_services = 0, used_services = 0;
  std::uint64_t max_backends = 0, used_backends = 0;
  std::uint64_t max_slots = 0, used_slots = 0;
  std::uint64_t recounts = 0;      // times the counts were taken anew, 1 at each start
  std::uint64_t lost_events = 0;   // failure events that found the ring full
  std::uint64_t writes = 0;        // ipvs: commands and transactions sent since the start
  std::vector<std::string> notes;  // degraded modes, one sentence each
  std::vector<LostAbility> lost;
  bool counts_connections = true;  // false: active_connections is null for TCP, too
  // What is not as it must be and is tried again, one sentence each: empty is well.
  std::vector<std::string> problems;
};

class Dataplane {
 public:
  virtual ~Dataplane() = default;

  // What there is: sorted, and cheap.
  [[nodiscard]] virtual Result<std::vector<ServiceKey>> keys() = 0;
  // Those of `keys` that are there, in the same order. Some 20 us for each, with ten backends: who reads many
  // does so in slices.
  [[nodiscard]] virtual Result<Observed> read_some(std::span<const ServiceKey> keys) = 0;
  [[nodiscard]] Result<Observed> read();                              // all
  [[nodiscard]] Result<ObservedService> read(const ServiceKey& key);  // ENOENT if absent

  // These are about to be upserted: whatever is cheaper done for many at once may be done now. Never
  // needed; an error is met again by the upsert.
  [[nodiscard]] virtual Result<> prepare(std::span<const ProgrammedService> services) {
    (void)services;
    return {};
  }

  // Switches the service to exactly this set, atomically for connecting clients. A backend that is
  // no longer listed stays known until its connections are gone, and takes up its counts when it
  // is listed again before that.
  [[nodiscard]] virtual Result<> upsert(const ProgrammedService& service) = 0;
  [[nodiscard]] virtual Result<> remove(const ServiceKey& key) = 0;

  // Calls `done` when no hook can be using anything that was replaced before this call (RCU grace
  // period, 10 ms and more): a backend that got weight 0 before it is chosen no more. From the loop,
  // or at once where there is nothing to wait for.
  using Settled = std::function<void(Result<>)>;
  virtual void settle(Settled done) = 0;

  // Frees what is unused by now (backends without connections that left their service), and looks after
  // what is in the kernel. Call it again after pace().
  [[nodiscard]] virtual Result<> collect() = 0;
  [[nodiscard]] virtual std::chrono::milliseconds pace() const { return std::chrono::seconds(1); }

  // Where active_connections is null: the connected sockets that were steered to this backend and are
  // still connected to it, found by a walk over all of them.
  [[nodiscard]] virtual Result<std::uint64_t> count_sockets(const ServiceKey& key,
                                                            const Address& backend) = 0;
  // Destroys the sockets that were steered to this backend through this service, and no others;
  // returns how many.
  [[nodiscard]] virtual Result<std::uint64_t> terminate(const ServiceKey& key,
                                                        const Address& backend) = 0;

  // Called from the loop for each failed connect. Set once, before the loop runs.
  virtual void on_connect_failure(std::function<void(const ConnectFailure&)> handler) = 0;

  // What a connect of lbd's own to this backend met. A dataplane that ejects (ebpf) takes it out or back by
  // that, and returns after how long lbd must look again; nullopt: no more.
  enum class Look : std::uint8_t { Well, Refused, Hangs };
  virtual std::optional<std::chrono::milliseconds> looked(const ServiceKey& key,
                                                          const Address& backend, Look look) {
    (void)key, (void)backend, (void)look;
    return std::nullopt;
  }

  [[nodiscard]] virtual DataplaneInfo info() const = 0;
};

}  // namespace lb
