#include "daemon/source_slot.h"

#include <algorithm>

#include <spdlog/spdlog.h>

namespace lb {

std::size_t count_backends(const Snapshot& snapshot) {
  std::size_t count = 0;
  for (const ServicePtr& service : snapshot.services) count += service->backends.size();
  return count;
}

Result<> SourceSlot::load(const SnapshotStore& store) {
  LB_TRY(auto saved, store.load(name_));
  if (!saved) return {};
  spdlog::info("source={} loaded services={} backends={} as_of={}", name_, saved->services.size(),
               count_backends(*saved), format_iso8601(saved->as_of));
  guard_.restore(*std::move(saved));
  return {};
}

void SourceSlot::deliver(const Snapshot& snapshot, SteadyTime now) {
  const std::size_t held_before = guard_.held() ? guard_.held()->backends.size() : 0;
  (void)guard_.admit(snapshot, now);
  spdlog::info("source={} snapshot services={} backends={} warnings={}", name_,
               snapshot.services.size(), count_backends(snapshot), snapshot.warnings.size());
  if (snapshot.warnings != warnings_)
    for (const std::string& warning : snapshot.warnings)
      spdlog::warn("source={} {}", name_, warning);
  log_held(held_before);
  warnings_ = snapshot.warnings;
  error_.clear();
  delivered_ = true;
  unsaved_ = true;
}

void SourceSlot::fail(const Error& error) {
  failed_ = true;
  // Said once: a source that is down fails every few seconds.
  if (error.message() != error_)
    spdlog::warn("source={} failed, keeping its last snapshot: {}", name_, error.message());
  error_ = error.message();
}

bool SourceSlot::recheck(SteadyTime now) {
  const auto deadline = guard_.next_deadline();
  // A source that is not connected stands by nothing; when it is back it delivers.
  if (!deadline || *deadline > now || !source || !source->status().connected) return false;
  const std::size_t before = guard_.held()->backends.size();
  const Guard::Verdict verdict = guard_.recheck(now);
  log_held(before);
  unsaved_ = unsaved_ || verdict.released > 0;
  return verdict.released > 0;
}

std::size_t SourceSlot::accept() {
  const std::size_t removed = guard_.held() ? guard_.held()->backends.size() : 0;
  (void)guard_.accept();
  unsaved_ = unsaved_ || removed > 0;
  return removed;
}

void SourceSlot::set_guard(GuardOptions options) {
  Guard fresh(options);
  if (guard_.accepted()) fresh.restore(*guard_.accepted());
  guard_ = std::move(fresh);
}

std::function<Result<>()> SourceSlot::unsaved(const SnapshotStore& store) {
  if (!has_unsaved()) return {};
  unsaved_ = false;
  // Cheap: a snapshot shares its services.
  return
      [store, name = name_, snapshot = *guard_.accepted()] { return store.save(name, snapshot); };
}

std::optional<SteadyTime> SourceSlot::next_recheck() const {
  // While it is not connected nothing is due, and its next delivery looks again anyway.
  if (!source || !source->status().connected) return std::nullopt;
  return guard_.next_deadline();
}

SourceInput SourceSlot::input() const {
  return {.name = name_, .snapshot = guard_.accepted(), .ports = ports_, .gave_up = failed_};
}

void SourceSlot::log_held(std::size_t before) const {
  const auto held = guard_.held();
  if (held && held->backends.size() != before) spdlog::warn("source={} {}", name_, held->text);
  if (!held && before > 0) spdlog::info("source={} nothing is held back any more", name_);
}

}  // namespace lb
