#include "sim/kernel.h"

#include <algorithm>
#include <cerrno>

namespace lb::sim {

void Kernel::maybe_kill(bool after_write) {
  if (!kill_in || *kill_in > 0 || kill_after_write != after_write) return;
  kill_in.reset();
  throw Killed();
}

Result<> Kernel::write(const ServiceKey& key, const ProgrammedService* after) {
  maybe_kill(false);
  if (failing_writes > 0) {
    --failing_writes;
    return fail(EIO, "write " + key.to_string());
  }
  world_.judge(key, service(key), after);
  if (after != nullptr)
    services_.insert_or_assign(key, *after);
  else
    services_.erase(key);
  maybe_kill(true);
  if (kill_in && *kill_in > 0) --*kill_in;
  return {};
}

Result<> Kernel::upsert(const ProgrammedService& service) { return write(service.key, &service); }
Result<> Kernel::remove(const ServiceKey& key) { return write(key, nullptr); }

void Kernel::settle(Settled done) {
  const auto wait = world_.random.between(milliseconds(1), milliseconds(40));
  settling_.emplace_back(world_.now.steady + wait, std::move(done));
}

void Kernel::settle_due() {
  for (std::size_t i = 0; i < settling_.size();) {
    if (settling_[i].first > world_.now.steady) {
      ++i;
      continue;
    }
    const Settled done = std::move(settling_[i].second);
    settling_.erase(settling_.begin() + static_cast<std::ptrdiff_t>(i));
    done({});
  }
}

SteadyTime Kernel::next_due() const {
  SteadyTime next = SteadyTime::max();
  for (const auto& [at, done] : settling_) next = std::min(next, at);
  return next;
}

Result<std::uint64_t> Kernel::terminate(const ServiceKey& key, const Address& backend) {
  world_.judge_termination({key, backend});
  return std::exchange(world_.active[{key, backend}], 0);
}

Result<Observed> Kernel::read_some(std::span<const ServiceKey> keys) {
  LB_TRY(Observed observed, NoneDataplane::read_some(keys));
  for (ObservedService& service : observed.services) fill(service);
  return observed;
}

// Also backends that are listed no more, while they have connections.
void Kernel::fill(ObservedService& service) const {
  const auto count = [&](const Address& address) {
    const auto found = world_.active.find({service.key, address});
    return found == world_.active.end() ? 0 : found->second;
  };
  for (ObservedBackend& b : service.backends) b.active_connections = count(b.address);
  for (auto it = world_.active.lower_bound({service.key, Address{}});
       it != world_.active.end() && it->first.first == service.key; ++it) {
    const Address& address = it->first.second;
    if (it->second == 0 ||
        std::any_of(service.backends.begin(), service.backends.end(),
                    [&](const ObservedBackend& b) { return b.address == address; }))
      continue;
    ObservedBackend left;
    left.address = address;
    left.active_connections = it->second;
    service.backends.push_back(std::move(left));
  }
  std::sort(service.backends.begin(), service.backends.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
}

}  // namespace lb::sim
