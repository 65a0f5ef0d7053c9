// What should be: the merged answer of all sources, drains and verdicts. Made by state/, carried out
// by reconcile/, shown by api/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/reach.h"
#include "model/service.h"

namespace lb {

// What each means: docs/OPERATIONS.md. Conflict and Refused mean that the service is not programmed at all; what it is programmed
// as, and who can reach it, makes LocalOnly and Partial.
enum class Condition : std::uint8_t {
  Ok,
  FailOpen,
  LastResort,
  NoBackends,
  Conflict,
  Refused,
  LocalOnly,
  Partial,
  Unclaimed,  // programmed by an lbd before this one, and named by no source since
};

struct DesiredBackend {
  Backend backend;
  BackendState state = BackendState::Active;  // after drains and verdicts
  Reason reason = Reason::None;
  SysTime since;                       // since when in this state for this reason
  std::uint32_t effective_weight = 0;  // above 0: gets new connections now
  bool departed = false;  // the source lists it no more; it stays until its connections are gone
  std::string text{};     // more than the reason says, for people; mostly empty

  bool operator==(const DesiredBackend&) const = default;
};

struct DesiredService {
  ServiceKey key;
  std::string name;
  Balance balance = Balance::LeastConn;
  std::string source;  // name of the source that owns the key
  Condition condition = Condition::Ok;
  std::string text;      // one sentence for people; empty when condition is Ok
  bool launder = true;   // Service::launder
  bool removed = false;  // its source lists it no more: nothing is steered, connections run out
  std::shared_ptr<const Reach> reach{};  // of its source; null: any address
  std::vector<DesiredBackend> backends;  // sorted by address

  bool operator==(const DesiredService&) const = default;
};
using DesiredServicePtr = std::shared_ptr<const DesiredService>;

// Pointers are shared between successive states where nothing changed.
using DesiredState = std::map<ServiceKey, DesiredServicePtr>;

[[nodiscard]] std::string_view to_string(Condition condition);  // "ok", "fail-open", ...

}  // namespace lb
