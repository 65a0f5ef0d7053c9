#include "state/catch_up.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "state/eligibility.h"

namespace lb {
namespace {

const ObservedBackend* find_listed(const ObservedService& service, const Address& address) {
  const auto found =
      std::lower_bound(service.backends.begin(), service.backends.end(), address,
                       [](const ObservedBackend& b, const Address& a) { return b.address < a; });
  const bool listed = found != service.backends.end() && found->address == address && found->listed;
  return listed ? &*found : nullptr;
}

bool has(const std::vector<Backend>& backends, const Address& address) {
  return std::any_of(backends.begin(), backends.end(),
                     [&](const Backend& b) { return b.address == address; });
}

// The kernel has it at weight 0, or not at all, although the snapshot would use it.
bool is_out_unexplained(const Service& service, const Backend& backend, const ObservedBackend* seen,
                        const KnownReasons& why) {
  if (backend.uid) return false;  // who holds its port is asked at each start
  if (eligibility(backend.state, backend.reason, backend.weight) != Eligibility::Normal)
    return false;
  if (seen != nullptr && (seen->weight > 0 || seen->drained || !seen->refused.empty()))
    return false;
  return !why.down.contains({service.key, backend.address}) &&
         !why.drains.matches(backend, service);
}

// The snapshot has a verdict that would keep it out, and the kernel uses it.
bool is_used_unexplained(const Backend& backend, const ObservedBackend* seen) {
  return seen != nullptr && seen->weight > 0 && backend.weight > 0 &&
         eligibility(backend.state, backend.reason, backend.weight) == Eligibility::Never;
}

void use(Backend& backend) {
  backend.state = BackendState::Active;
  backend.reason = Reason::None;
}

// A last resort that the kernel uses beside others would be out as soon as one of them is none any more.
void use_last_resorts(Service& service, const ObservedService& seen) {
  const auto of = [](const Backend& b) { return eligibility(b.state, b.reason, b.weight); };
  if (std::none_of(service.backends.begin(), service.backends.end(),
                   [&](const Backend& b) { return of(b) == Eligibility::Normal; }))
    return;
  for (Backend& backend : service.backends)
    if (const auto* line = find_listed(seen, backend.address);
        line != nullptr && line->weight > 0 && of(backend) == Eligibility::LastResort)
      use(backend);
}

Service as_programmed(const Service& saved, const ObservedService& seen, const KnownReasons& why) {
  Service out = saved;
  std::erase_if(out.backends, [&](const Backend& b) {
    const ObservedBackend* line = find_listed(seen, b.address);
    return why.departures.find(saved.key, b.address) != nullptr &&
           (line == nullptr || line->weight == 0);
  });
  for (Backend& backend : out.backends) {
    const ObservedBackend* line = find_listed(seen, backend.address);
    if (is_out_unexplained(saved, backend, line, why)) {
      backend.weight = 0;  // no last resort either
    } else if (is_used_unexplained(backend, line)) {
      use(backend);
    }
  }
  const std::size_t known = out.backends.size();
  for (const ObservedBackend& b : seen.backends) {
    if (!b.listed || b.weight == 0 || has(out.backends, b.address)) continue;
    Backend backend;
    backend.id = b.address.to_string();
    backend.host = b.address.ip.to_string();
    backend.address = b.address;
    // What the kernel has is a share, and not a source's weight.
    backend.weight = kDefaultWeight;
    backend.origin = saved.origin;
    out.backends.push_back(std::move(backend));
  }
  // Another origin may have got it since, and it does not stand beside what comes of the first.
  const bool taken_over =
      out.backends.size() > known &&
      std::none_of(saved.backends.begin(), saved.backends.end(), [&](const Backend& b) {
        const auto* line = find_listed(seen, b.address);
        return line != nullptr && line->weight > 0;
      });
  if (taken_over) {
    out.origin.clear();
    std::erase_if(out.backends, [&](const Backend& b) { return has(saved.backends, b.address); });
  }
  use_last_resorts(out, seen);
  std::sort(out.backends.begin(), out.backends.end(),
            [](const Backend& a, const Backend& b) { return a.address < b.address; });
  return out;
}

}  // namespace

std::optional<Snapshot> catch_up(const Snapshot& saved, const Observed& observed,
                                 const KnownReasons& why) {
  std::optional<Snapshot> out;
  for (std::size_t i = 0; i < saved.services.size(); ++i) {
    const Service& service = *saved.services[i];
    const ObservedService* seen = find_service(observed, service.key);
    if (seen == nullptr || !seen->programmed || seen->addresses.empty()) continue;
    Service now = as_programmed(service, *seen, why);
    if (now == service) continue;
    if (!out) out = saved;
    out->services[i] = std::make_shared<const Service>(std::move(now));
  }
  return out;
}

HealthVerdicts not_contradicted(const HealthVerdicts& down, const Observed& observed) {
  const auto weight_of = [&](const auto& id) -> std::optional<std::uint32_t> {
    const ObservedService* seen = find_service(observed, id.first);
    const ObservedBackend* line = seen == nullptr ? nullptr : find_listed(*seen, id.second);
    return line == nullptr ? std::nullopt : std::optional<std::uint32_t>(line->weight);
  };
  // When all are down all are used: that contradicts nothing.
  std::set<ServiceKey> tells_apart;
  for (const auto& [id, verdict] : down)
    if (weight_of(id) == 0U) tells_apart.insert(id.first);
  HealthVerdicts out = down;
  std::erase_if(out, [&](const auto& entry) {
    return tells_apart.contains(entry.first.first) && weight_of(entry.first).value_or(0) > 0;
  });
  return out;
}

}  // namespace lb
