#include "daemon/feedback.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/slices.h"
#include "model/report.h"

namespace lb {
namespace {

ServiceReport report_of(const DesiredService& service, const ObservedService* observed) {
  ServiceReport out;
  out.key = service.key;
  std::map<Address, std::optional<std::uint64_t>> counts;
  if (observed != nullptr)
    for (const ObservedBackend& b : observed->backends) counts[b.address] = b.active_connections;
  for (const DesiredBackend& b : service.backends) {
    const auto count = counts.find(b.backend.address);
    out.backends.push_back({b.backend.id, b.backend.address, b.effective_weight,
                            count == counts.end() ? std::nullopt : count->second});
  }
  return out;
}

std::vector<ServiceKey> services_of(const Engine& engine, const std::string& source) {
  std::vector<ServiceKey> out;
  for (const auto& [key, service] : engine.reconciler().desired())
    if (service->source == source) out.push_back(key);
  return out;
}

asio::awaitable<std::vector<ServiceReport>> reports_of(const Engine& engine, std::string source) {
  std::vector<ServiceReport> out;
  const auto read = [&](std::span<const ServiceKey> keys) {
    const auto observed = engine.dataplane().read_some(keys);
    const DesiredState& desired = engine.reconciler().desired();
    for (const ServiceKey& key : keys)
      if (const auto it = desired.find(key); it != desired.end() && it->second->source == source)
        out.push_back(report_of(*it->second, observed ? find_service(*observed, key) : nullptr));
  };
  co_await in_slices(services_of(engine, source), read);
  co_return out;
}

}  // namespace

bool tell_failure(const Engine& engine, const ConnectFailure& failure) {
  const DesiredState& desired = engine.reconciler().desired();
  const auto service = desired.find(failure.service);
  if (service == desired.end()) return false;
  bool look = false;
  for (const auto& slot : engine.slots())
    if (slot->name() == service->second->source && slot->source)
      look = slot->source->connect_failed(failure) || look;
  return look;
}

bool wants_reports(const SourceSlots& slots) {
  return std::any_of(slots.begin(), slots.end(), [](const auto& slot) {
    return slot->source && slot->source->wants_reports();
  });
}

asio::awaitable<void> tell_reports(const Engine& engine) {
  const SourceSlots slots = engine.slots();  // a reload may replace them meanwhile
  for (const auto& slot : slots) {
    if (!slot->source || !slot->source->wants_reports()) continue;
    const auto reports = co_await reports_of(engine, slot->name());
    if (slot->source) slot->source->report(reports);
  }
}

LogLevel log_level_of(const SourceSlots& slots, LogLevel configured) {
  std::optional<LogLevel> asked;
  for (const auto& slot : slots)
    if (const auto level = slot->source ? slot->source->log_level() : std::nullopt)
      asked = std::min(asked.value_or(*level), *level);
  return asked.value_or(configured);
}

}  // namespace lb
