#include "daemon/feedback.h"

#include <algorithm>
#include <map>
#include <optional>

namespace lb {
namespace {

ServiceReport report_of(const DesiredService& service, Dataplane& dataplane) {
  ServiceReport out;
  out.key = service.key;
  std::map<Address, std::optional<std::uint64_t>> counts;
  if (const auto observed = dataplane.read(service.key))
    for (const ObservedBackend& b : observed->backends) counts[b.address] = b.active_connections;
  for (const DesiredBackend& b : service.backends) {
    const auto count = counts.find(b.backend.address);
    out.backends.push_back({b.backend.id, b.backend.address, b.effective_weight,
                            count == counts.end() ? std::nullopt : count->second});
  }
  return out;
}

}  // namespace

void tell_failure(const Engine& engine, const ConnectFailure& failure) {
  const DesiredState& desired = engine.reconciler().desired();
  const auto service = desired.find(failure.service);
  if (service == desired.end()) return;
  for (const auto& slot : engine.slots())
    if (slot->name() == service->second->source && slot->source)
      slot->source->connect_failed(failure);
}

std::vector<ServiceReport> reports_of(const Engine& engine, const std::string& source) {
  std::vector<ServiceReport> out;
  for (const auto& [key, service] : engine.reconciler().desired())
    if (service->source == source) out.push_back(report_of(*service, engine.dataplane()));
  return out;
}

bool wants_reports(const SourceSlots& slots) {
  return std::any_of(slots.begin(), slots.end(), [](const auto& slot) {
    return slot->source && slot->source->wants_reports();
  });
}

void tell_reports(const Engine& engine) {
  for (const auto& slot : engine.slots())
    if (slot->source && slot->source->wants_reports())
      slot->source->report(reports_of(engine, slot->name()));
}

LogLevel log_level_of(const SourceSlots& slots, LogLevel configured) {
  std::optional<LogLevel> asked;
  for (const auto& slot : slots)
    if (const auto level = slot->source ? slot->source->log_level() : std::nullopt)
      asked = std::min(asked.value_or(*level), *level);
  return asked.value_or(configured);
}

}  // namespace lb
