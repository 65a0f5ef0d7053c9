// Operator::explain(): what would happen to a connect now, in one sentence and in detail.
#include <algorithm>

#include <fmt/format.h>

#include "daemon/operator.h"
#include "daemon/views.h"

namespace lb {
namespace {

// Connecting to 0.0.0.0 or :: is connecting to loopback; the kernel does that after our hook.
ServiceKey destination(ServiceKey to) {
  if (to.address.is_unspecified()) to.address = to.address.is_v4() ? loopback_v4() : loopback_v6();
  return to;
}

std::string text_of(const ServiceKey& key) { return Address{key.address, key.port}.to_string(); }

// The service that would have the frontend if it were programmed: in conflict, refused or failing.
std::optional<ServiceKey> would_be_owner(const ServiceKey& to, const Reconciler& reconciler) {
  for (ServiceKey key : dependents(to)) {
    const auto addresses =
        frontend_addresses(key, reconciler.desired(), reconciler.local_addresses());
    if (std::find(addresses.begin(), addresses.end(), to.address) != addresses.end()) return key;
  }
  if (reconciler.desired().contains(to)) return to;
  return std::nullopt;
}

void explain_unprogrammed(Explanation& out, const Reconciler& reconciler, const ServiceKey& key) {
  out.service = reconciler.effective(key);
  out.text = fmt::format("a connect goes to whoever listens on {}: service {} is not programmed",
                         text_of(out.asked), out.service->name);
  if (!out.service->text.empty()) out.notes.push_back(out.service->text);
  if (const auto it = reconciler.failures().find(key); it != reconciler.failures().end())
    out.notes.push_back("it cannot be programmed, and is tried again: " + it->second.error);
}

// The policy in force: UDP has no connections that could be counted, and some kernels refuse the program
// that counts those of TCP.
std::string policy_of(const DesiredService& service, bool counts_connections) {
  const std::string name(to_string(service.balance));
  const bool counts = service.balance == Balance::LeastConn || service.balance == Balance::P2c;
  if (!counts) return name;
  if (service.key.protocol == Protocol::Tcp)
    return counts_connections
               ? name
               : fmt::format("weighted random, since connections are not counted here for {}",
                             name);
  return fmt::format("weighted random, since UDP has no connections to count for {}", name);
}

void explain_balanced(Explanation& out, bool counts_connections) {
  const auto candidates = std::count_if(out.backends.begin(), out.backends.end(),
                                        [](const auto& b) { return b.candidate; });
  const DesiredService& service = *out.service;
  if (candidates > 0) {
    out.outcome = Outcome::Balanced;
    out.text = fmt::format("a connect goes to one of {} backends of service {}, chosen by {}",
                           candidates, service.name, policy_of(service, counts_connections));
  } else {
    out.outcome = Outcome::Refused;
    out.text = fmt::format("a connect is refused (ECONNREFUSED): service {} has no usable backend",
                           service.name);
  }
  if (!service.text.empty()) out.notes.push_back(service.text);
}

}  // namespace

Result<Explanation> Operator::explain(ServiceKey to) {
  const Reconciler& reconciler = engine_.reconciler();
  Explanation out;
  out.asked = to;
  const ServiceKey destined = destination(to);
  const auto owner = reconciler.owner(destined);
  const auto key = owner ? owner : would_be_owner(destined, reconciler);
  if (!key || !reconciler.effective(*key)) {
    out.text = fmt::format("no service is on {}: a connect goes where it says", text_of(to));
    return out;
  }
  if (*key != to)
    out.alias = fmt::format("{} is an address of service {}", text_of(to), text_of(*key));
  if (owner)
    out.service = reconciler.effective(*key);
  else
    explain_unprogrammed(out, reconciler, *key);

  const auto observed = engine_.dataplane().read(*key);
  if (owner)
    out.service = as_seen(out.service, observed ? &*observed : nullptr, engine_.clocks().wall());
  const auto listeners = read_listeners_();
  out.backends =
      explain_backends(*out.service, counts_of(*out.service, observed ? &*observed : nullptr),
                       listeners ? &*listeners : nullptr);
  for (ExplainedBackend& b : out.backends)
    if (const auto down = engine_.down().find({*key, b.backend.backend.address});
        down != engine_.down().end() && b.backend.reason == Reason::ProbeFailed)
      b.why += ": " + down->second.error;
  const DataplaneInfo dataplane = engine_.dataplane().info();
  if (owner)
    explain_balanced(out, dataplane.counts_connections);
  else
    for (ExplainedBackend& b : out.backends) {
      b.candidate = false;
      b.why = "the service is not programmed";
    }
  if (dataplane.mode == "none") {
    out.outcome = Outcome::Direct;
    out.notes.emplace_back("mode none: nothing is programmed, so the connect goes where it says");
  }
  if (const auto note = reconciler.notes().find(*key);
      note != reconciler.notes().end() && !note->second.conflict)
    out.notes.push_back(note->second.text);
  if (facts_.host_scope)
    out.notes.emplace_back("holds for clients in lbd's own network namespace, not in containers");
  return out;
}

}  // namespace lb
