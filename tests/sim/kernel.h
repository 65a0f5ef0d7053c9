// The kernel of a history: what is programmed there outlives each lbd. Every write is judged.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "dataplane/none_dataplane.h"
#include "sim/world.h"

namespace lb::sim {

class Kernel final : public NoneDataplane {
 public:
  explicit Kernel(World& world) : world_(world) {}

  // --- what befalls it
  unsigned failing_writes = 0;      // the next ones
  std::optional<unsigned> kill_in;  // so many writes from now, before or after the write
  bool kill_after_write = false;

  [[nodiscard]] const std::map<ServiceKey, ProgrammedService>& services() const {
    return services_;
  }
  [[nodiscard]] const ProgrammedService* service(const ServiceKey& key) const {
    const auto found = services_.find(key);
    return found == services_.end() ? nullptr : &found->second;
  }
  // Another hand removes it.
  void lose(const ServiceKey& key) { services_.erase(key); }
  // Grace periods that end by now, and when the next one does.
  void settle_due();
  [[nodiscard]] SteadyTime next_due() const;
  // The lbd that waited is gone.
  void forget_waiting() { settling_.clear(); }

  [[nodiscard]] Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  [[nodiscard]] Result<> upsert(const ProgrammedService& service) override;
  [[nodiscard]] Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override;
  [[nodiscard]] Result<std::uint64_t> terminate(const ServiceKey& key,
                                                const Address& backend) override;

 private:
  [[nodiscard]] Result<> write(const ServiceKey& key, const ProgrammedService* after);
  void maybe_kill(bool after_write);
  void fill(ObservedService& service) const;

  World& world_;
  std::vector<std::pair<SteadyTime, Settled>> settling_;
};

}  // namespace lb::sim
