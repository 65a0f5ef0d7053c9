#include "daemon/views.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lb {
namespace {

BackendCounts to_counts(const ObservedBackend& b) {
  return {.active_connections = b.active_connections,
          .total_connections = b.total_connections,
          .refused = b.failed.refused,
          .timed_out = b.failed.timed_out,
          .gave_up = b.failed.gave_up,
          .unreachable = b.failed.other,
          .ejections = b.ejections};
}

std::string why(const DesiredBackend& b, std::uint64_t total_weight) {
  if (b.effective_weight > 0)
    return fmt::format("{}: weight {} of {}", to_string(b.state), b.effective_weight, total_weight);
  std::string text = fmt::format("weight 0: {}", to_string(b.state));
  if (b.reason != Reason::None) text += fmt::format(" ({})", to_string(b.reason));
  text += " since " + format_iso8601(b.since);
  return b.text.empty() ? text : text + ": " + b.text;
}

// As the hook asks before it chooses: loopback only, since what listens elsewhere cannot be known.
std::optional<bool> listening(Protocol protocol, const Address& backend,
                              const std::vector<Listener>* listeners) {
  if (!listeners || protocol != Protocol::Tcp || !backend.ip.is_loopback()) return std::nullopt;
  return std::any_of(listeners->begin(), listeners->end(), [&](const Listener& l) {
    return receives(l, {protocol, backend.ip, backend.port});
  });
}

void eject(DesiredBackend& b, const Ejection& ejection, SysTime now) {
  b.state = BackendState::Down;
  b.reason = Reason::Ejected;
  b.effective_weight = 0;
  b.since = now - std::chrono::duration_cast<SysTime::duration>(ejection.ago);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(ejection.lasts).count();
  b.text = ejection.held
               ? fmt::format("does not answer; lbd looks again within {} s", seconds)
               : fmt::format("refused a connection; it is tried again within {} s", seconds);
}

void set_condition(DesiredService& service, Condition condition, std::string text) {
  service.condition = condition;
  service.text = std::move(text);
}

}  // namespace

std::vector<BackendCounts> counts_of(const DesiredService& service,
                                     const ObservedService* observed) {
  std::vector<BackendCounts> counts(service.backends.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (service.key.protocol == Protocol::Tcp) counts[i].active_connections = 0;
    if (!observed) continue;
    const Address& address = service.backends[i].backend.address;
    const auto it =
        std::lower_bound(observed->backends.begin(), observed->backends.end(), address,
                         [](const ObservedBackend& b, const Address& a) { return b.address < a; });
    if (it != observed->backends.end() && it->address == address) counts[i] = to_counts(*it);
  }
  return counts;
}

DesiredServicePtr as_seen(const DesiredServicePtr& service, const ObservedService* observed,
                          SysTime now) {
  if (!observed) return service;
  std::map<Address, std::string> refused;
  std::map<Address, Ejection> ejected;
  for (const ObservedBackend& b : observed->backends) {
    if (!b.refused.empty()) refused.emplace(b.address, b.refused);
    if (b.ejected) ejected.emplace(b.address, *b.ejected);
  }
  const std::string& local_only = observed->local_only;
  const std::string& left_out = observed->left_out;
  if (refused.empty() && ejected.empty() && local_only.empty() && left_out.empty()) return service;
  auto copy = std::make_shared<DesiredService>(*service);
  bool any_in_use = false, any_refused = false;
  for (DesiredBackend& b : copy->backends) {
    if (b.effective_weight == 0) continue;
    if (const auto out = ejected.find(b.backend.address); out != ejected.end()) {
      any_in_use = true;  // the hooks leave one at least
      eject(b, out->second, now);
      continue;
    }
    if (!refused.contains(b.backend.address)) {
      any_in_use = true;
      continue;
    }
    any_refused = true;
    b.state = BackendState::Down;
    b.reason = Reason::Unsupported;
    b.effective_weight = 0;
  }
  if (copy->condition != Condition::Ok || copy->removed) return copy;
  if (any_refused && !any_in_use)
    set_condition(*copy, Condition::NoBackends, refused.begin()->second);
  else if (!local_only.empty())
    set_condition(*copy, Condition::LocalOnly,
                  "clients of other hosts are not served: " + local_only);
  else if (!left_out.empty())
    set_condition(*copy, Condition::Partial, left_out);
  return copy;
}

DataplaneView to_view(const DataplaneInfo& info) {
  std::vector<DataplaneView::Lost> lost;
  for (const LostAbility& l : info.lost) lost.push_back({l.what, l.why, l.loss});
  return {.mode = info.mode,
          .cgroup = info.cgroup,
          .bpffs = info.bpffs,
          .services = {info.used_services, info.max_services},
          .backends = {info.used_backends, info.max_backends},
          .slots = {info.used_slots, info.max_slots},
          .recounts = info.recounts,
          .lost_events = info.lost_events,
          .writes = info.writes,
          .notes = info.notes,
          .lost = std::move(lost),
          .counts_connections = info.counts_connections};
}

DrainOrder to_view(const Drain& drain) {
  return {
      .target = to_string(drain.target),
      .service = drain.service.value_or(""),
      .since = drain.since,
      .terminate_at = drain.terminate_at ? std::optional(drain.terminate_at->wall) : std::nullopt,
      .fleet = !drain.fleet.empty()};
}

std::optional<HeldBack> held_view(const SourceSlot& slot, SteadyTime now, SysTime wall) {
  const auto held = slot.held();
  if (!held) return std::nullopt;
  const auto ago = std::chrono::duration_cast<std::chrono::milliseconds>(now - held->since);
  return HeldBack{.source = slot.name(),
                  .missing = held->backends.size(),
                  .of = held->of,
                  .since = wall - ago,
                  .text = held->text};
}

SourceView to_view(const SourceSlot& slot, const std::vector<Claim>& losers, SteadyTime now,
                   SysTime wall) {
  const SourceStatus status = slot.source ? slot.source->status() : SourceStatus{};
  SourceView view;
  view.name = slot.name();
  view.type = slot.type();
  view.error = !status.error.empty() ? status.error : slot.error();
  view.position = status.position;
  view.warnings = slot.warnings();
  view.held = held_view(slot, now, wall);
  view.state = !view.error.empty() ? "failing" : slot.delivered() ? "ok" : "waiting";
  if (const Snapshot* snapshot = slot.snapshot()) {
    view.revision = snapshot->revision;
    view.as_of = snapshot->as_of;
    view.saved = !slot.delivered();
    view.services = snapshot->services.size();
    view.backends = count_backends(*snapshot);
  } else if (!view.error.empty()) {
    view.state = "waiting";  // there is no last good to keep
  }
  for (const Claim& claim : losers)
    if (claim.source == slot.name())
      view.lost_claims.push_back({claim.key, claim.service, claim.winner});
  return view;
}

SourceView to_former_view(const SourceSlot& slot, const FormerSources& former,
                          const std::vector<Claim>& losers) {
  SourceView view = to_view(slot, losers, {}, {});
  std::vector<std::string> waits_for;
  for (const auto& next : former.until)
    if (!next->delivered()) waits_for.push_back(next->name());
  view.state = "former";
  view.saved = false;
  view.warnings = {fmt::format(
      "is configured no more: what it had stays until {} has delivered, or until `lbctl resync "
      "--accept {}`",
      fmt::join(waits_for, " and "), slot.name())};
  return view;
}

std::vector<ExplainedBackend> explain_backends(const DesiredService& service,
                                               const std::vector<BackendCounts>& counts,
                                               const std::vector<Listener>* listeners) {
  std::uint64_t total = 0;
  for (const DesiredBackend& b : service.backends) total += b.effective_weight;
  std::vector<ExplainedBackend> explained;
  bool any_alive = false;
  for (std::size_t i = 0; i < service.backends.size(); ++i) {
    const DesiredBackend& b = service.backends[i];
    ExplainedBackend e{.backend = b,
                       .counts = counts.at(i),
                       .candidate = b.effective_weight > 0,
                       .why = why(b, total),
                       .listening = listening(service.key.protocol, b.backend.address, listeners)};
    any_alive = any_alive || (e.candidate && e.listening.value_or(true));
    explained.push_back(std::move(e));
  }
  // If none listens the first draw is used, so that the failure is seen and counted.
  for (ExplainedBackend& e : explained)
    if (any_alive && e.candidate && !e.listening.value_or(true)) {
      e.candidate = false;
      e.why += ", but nothing listens there: another one is drawn";
    }
  return explained;
}

}  // namespace lb
