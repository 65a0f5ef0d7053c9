// The engine's part in who holds the ports of backends with a uid (reconcile/owners.h).
#include <utility>

#include "daemon/engine.h"

namespace lb {

// A backend whose port was not looked at gets nothing, so this is done before the plan: it may be in
// use already, and have been given its uid just now.
bool Engine::watch_owners(const MergeResult& result, SteadyTime now) {
  std::vector<WantedOwner> wanted;
  for (const MergeResult::Memo& memo : result.memo) {
    if (!memo.owned) continue;
    for (const DesiredBackend& b : memo.desired->backends)
      if (b.backend.uid)
        wanted.push_back({.service = memo.key,
                          .backend = b.backend.address,
                          .uid = *b.backend.uid,
                          .service_name = memo.desired->name,
                          .origin = b.backend.origin});
  }
  if (!owners_.want(std::move(wanted))) return false;
  const bool changed = owners_.looked(read_listeners_(), host_, now, now);
  log_change(owners_error_, owners_.problem());
  return changed;
}

bool Engine::set_listeners(const Result<std::vector<Listener>>& found, SteadyTime began) {
  replan_ = owners_.looked(found, host_, began, clocks_.steady()) || replan_;
  log_change(owners_error_, owners_.problem());
  return replan_;
}

bool Engine::set_owner_names(Owners::Names names) {
  replan_ = owners_.named(std::move(names)) || replan_;
  return replan_;
}

}  // namespace lb
