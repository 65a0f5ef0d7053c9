#include "daemon/source_slot.h"

#include <algorithm>

#include <spdlog/spdlog.h>

namespace lb {

std::size_t count_backends(const Snapshot& snapshot) {
  std::size_t count = 0;
  for (const ServicePtr& service : snapshot.services) count += service->backends.size();
  return count;
}

Result<> SourceSlot::load(const SnapshotStore& store) { return load(store, name_); }

Result<> SourceSlot::load(const SnapshotStore& store, const std::string& formerly) {
  LB_TRY(auto saved, store.load(formerly));
  if (!saved) return {};
  spdlog::info("source={} loaded services={} backends={} as_of={}", name_, saved->services.size(),
               count_backends(*saved), format_iso8601(saved->as_of));
  Snapshot allowed = allowed_backends(*std::move(saved), backends_);
  for (const std::string& warning : allowed.warnings) spdlog::warn("source={} {}", name_, warning);
  guard_.restore(std::move(allowed));
  if (formerly == name_) return {};
  formerly_ = formerly;
  unsaved_ = true;  // under its new name, too
  return {};
}

void SourceSlot::continue_from(const SourceSlot& former) {
  if (!former.snapshot()) return;
  guard_.restore(allowed_backends(*former.snapshot(), backends_));
  if (former.name_ != name_) formerly_ = former.name_;
  unsaved_ = former.unsaved_ || !formerly_.empty();
  continues_live_ = former.live();
}

void SourceSlot::deliver(const Snapshot& snapshot, SteadyTime now) {
  const std::size_t held_before = guard_.held() ? guard_.held()->backends.size() : 0;
  // Cheap: it shares its services.
  Snapshot read = allowed_backends(snapshot, backends_);
  if (options_.files && type_ == "file") read.absence = Absence::Guarded;
  if (read.absence == Absence::Believed) log_believed_loss(read, now);
  (void)guard_.admit(read, now);
  spdlog::info("source={} snapshot services={} backends={} warnings={}", name_,
               read.services.size(), count_backends(read), read.warnings.size());
  if (read.warnings != warnings_)
    for (const std::string& warning : read.warnings) spdlog::warn("source={} {}", name_, warning);
  log_held(held_before);
  tell_source();
  warnings_ = std::move(read.warnings);
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
  tell_source();
  unsaved_ = unsaved_ || verdict.released > 0;
  return verdict.released > 0;
}

std::size_t SourceSlot::accept() {
  const std::size_t removed = guard_.held() ? guard_.held()->backends.size() : 0;
  (void)guard_.accept();
  tell_source();
  unsaved_ = unsaved_ || removed > 0;
  return removed;
}

void SourceSlot::set_guard(GuardOptions options) {
  options_ = options;
  guard_.set_options(options);
}

void SourceSlot::set_unused(const Unused& backends) {
  guard_.set_unused(backends);
  if (source) source->unused(backends);
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
  return {.name = name_,
          .snapshot = guard_.accepted(),
          .ports = ports_,
          .gave_up = failed_,
          .formerly = formerly_,
          .former = false,
          .reach = reach_};
}

void SourceSlot::tell_source() {
  if (source && guard_.accepted()) source->admitted(*guard_.accepted());
}

void SourceSlot::log_held(std::size_t before) const {
  const auto held = guard_.held();
  if (held && held->backends.size() != before) spdlog::warn("source={} {}", name_, held->text);
  if (!held && before > 0) spdlog::info("source={} nothing is held back any more", name_);
}

// By the guard's own measure: what it would hold if it were asked.
void SourceSlot::log_believed_loss(Snapshot next, SteadyTime now) const {
  if (!guard_.accepted()) return;
  next.absence = Absence::Guarded;
  Guard asked(options_);
  asked.restore(*guard_.accepted());
  if (asked.admit(next, now).held < 2) return;  // the last one of a service is no loss to speak of
  spdlog::warn("source={} {} of {} backends leave at once: {}", name_,
               asked.held()->backends.size(), count_backends(*guard_.accepted()),
               type_ == "file" ? "what a file says is an order ([guard] files = true would hold "
                                 "such a loss until it is confirmed)"
                               : "the source has seen each of them go");
}

}  // namespace lb
