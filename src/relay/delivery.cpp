#include "relay/delivery.h"

#include <algorithm>
#include <utility>

#include "relay/received.h"

namespace lb::relay {

std::optional<Snapshot> Delivery::next(Intake& intake, std::vector<std::string> warnings,
                                       bool again, SysTime now) {
  const Intake::Replica* state = intake.in_force();
  if (state == nullptr) return std::nullopt;
  if (looked_at_ == intake.version() && warnings == warnings_ && !again) return std::nullopt;
  looked_at_ = intake.version();
  warnings_ = warnings;
  Snapshot out;
  out.warnings = std::move(warnings);
  const std::vector<ServicePtr> none;
  out.services = usable(state->services, last_ ? last_->services : none, out.warnings);
  out.absence = intake.guarded() ? Absence::Guarded : Absence::Believed;
  intake.believed();
  at_ = state->at;
  const bool same = last_ && last_->services == out.services && last_->warnings == out.warnings;
  if (same && !again) return std::nullopt;
  out.revision = format_revision(state->at, state->sources);
  if (state->sources.empty()) out.as_of = now;
  for (const SourceMark& mark : state->sources) out.as_of = std::max(out.as_of, mark.as_of);
  unapplied_ = true;
  last_ = out;
  return out;
}

std::optional<Position> Delivery::acknowledged(const Intake& intake) const {
  const Intake::Replica* state = intake.in_force();
  if (state == nullptr || unapplied_ || !at_ || at_->epoch != state->at.epoch) return std::nullopt;
  return at_;
}

}  // namespace lb::relay
