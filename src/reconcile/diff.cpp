#include "reconcile/diff.h"

#include <algorithm>
#include <numeric>

namespace lb {
namespace {

// Only the proportions matter, and they are all that the kernel keeps: without this a restart would
// find every service changed.
void reduce_weights(std::vector<ProgrammedBackend>& backends) {
  std::uint32_t divisor = 0;
  for (const ProgrammedBackend& b : backends) divisor = std::gcd(divisor, b.weight);
  if (divisor > 1)
    for (ProgrammedBackend& b : backends) b.weight /= divisor;
}

bool gives_up_an_address(const ProgrammedService& want, const ProgrammedService& have) {
  return !std::includes(want.addresses.begin(), want.addresses.end(), have.addresses.begin(),
                        have.addresses.end());
}

}  // namespace

std::vector<ServiceKey> changed_keys(const DesiredState& before, const DesiredState& after) {
  std::vector<ServiceKey> changed;
  auto b = before.begin();
  auto a = after.begin();
  while (b != before.end() || a != after.end()) {
    if (a == after.end() || (b != before.end() && b->first < a->first)) {
      changed.push_back((b++)->first);
    } else if (b == before.end() || a->first < b->first) {
      changed.push_back((a++)->first);
    } else {
      if (a->second != b->second && *a->second != *b->second) changed.push_back(a->first);
      ++a;
      ++b;
    }
  }
  return changed;
}

ProgrammedService to_programmed(const DesiredService& service, std::vector<IpAddress> addresses) {
  ProgrammedService programmed{service.key, std::move(addresses), service.balance, {}};
  programmed.backends.reserve(service.backends.size());
  for (const DesiredBackend& b : service.backends)
    // Past its deadline it leaves the service; the dataplane counts what is left of it.
    if (b.reason != Reason::Lingering)
      programmed.backends.push_back(
          {b.backend.address, b.effective_weight, b.reason == Reason::Operator});
  reduce_weights(programmed.backends);
  programmed.launder = service.launder;
  return programmed;
}

ProgrammedService to_programmed(const ObservedService& observed) {
  ProgrammedService programmed{observed.key, observed.addresses, observed.balance, {}};
  for (const ObservedBackend& b : observed.backends)
    // What was not explained counts as drained: if it is not, the next upsert says so.
    if (b.listed)
      programmed.backends.push_back(
          {b.address, b.weight, b.drained || (b.unexplained && b.weight == 0)});
  reduce_weights(programmed.backends);
  programmed.withheld = observed.withheld;
  return programmed;
}

AppliedState to_applied(const Observed& observed) {
  AppliedState applied;
  for (const ObservedService& s : observed.services)
    if (s.programmed) applied.emplace(s.key, to_programmed(s));
  return applied;
}

std::optional<Step> next_step(const ProgrammedService* want, const ProgrammedService* have) {
  if (!want) return have ? std::optional(Step::Remove) : std::nullopt;
  if (!have) return Step::Upsert;
  if (*want == *have) return std::nullopt;
  return gives_up_an_address(*want, *have) ? Step::Release : Step::Upsert;
}

}  // namespace lb
