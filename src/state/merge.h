// Everything that is wanted, as one value: what the sources say, minus what the operator drains, plus
// what still runs out. Pure; the order of one turn is
//   View view = resolve_claims(sources, &last_view);
//   departures.update(view, now);
//   MergeResult result = merge({&view, &drains, &departures, ...});
//   drains.settle(result.state, view.complete, now);
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "health/verdict.h"
#include "model/desired.h"
#include "state/claims.h"
#include "state/departures.h"
#include "state/drains.h"
#include "state/owner_verdicts.h"

namespace lb {

struct MergeResult;

struct MergeInput {
  const View* view = nullptr;
  const Drains* drains = nullptr;          // may be null
  const Departures* departures = nullptr;  // may be null
  // Keys that must not be programmed since somebody else listens there, with a sentence.
  const std::map<ServiceKey, std::string>* conflicts = nullptr;  // may be null
  // Only those that are down count, so that the caller may leave out all others.
  const HealthVerdicts* health = nullptr;  // may be null
  // Of backends with a uid. One that is not in it gets nothing.
  const OwnerVerdicts* owners = nullptr;  // may be null
  // Scope "all": backends in 127.0.0.0/8 and ::1 mean another host for each network namespace, so
  // they are left out with a warning.
  bool scope_all = false;
  // Keeps `since`, and lends pointers. Only its memo is read: `state` may have been moved out.
  const MergeResult* previous = nullptr;
  Moment now;
};

struct MergeResult {
  DesiredState state;
  std::vector<std::string> warnings;  // one sentence each: backends that were left out

  // What the next merge compares with. A service whose inputs are the same keeps its pointer without
  // being looked at; one that was made anew and came out equal keeps it too.
  struct Memo {
    ServiceKey key;
    ServicePtr service;  // null for a service that has left its source
    DesiredServicePtr desired;
    std::shared_ptr<const std::vector<std::string>> warnings;  // null: none
    std::uint32_t source = 0;
    std::string refusal;   // why its source may not have it; empty: it may
    bool plain = false;    // nothing but `service`, drains and scope went into it
    bool checked = false;  // `service` has a health check, and is not refused
    bool owned = false;    // one of its backends has a uid
  };
  std::vector<Memo> memo;  // sorted by key
  std::vector<View::SourceRef> sources;
  std::shared_ptr<const std::vector<Drain>> drains;  // null: none
  bool scope_all = false;
};

// Losers of claims are in View::losers.
[[nodiscard]] MergeResult merge(const MergeInput& input);

}  // namespace lb
