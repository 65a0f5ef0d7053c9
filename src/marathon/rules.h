// From apps to services: who is published where, and which tasks are its backends. Pure: host names
// and the time come from the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "marathon/app.h"
#include "model/service.h"

namespace lb::marathon {

// A task whose health is not known and was not known before.
enum class HealthUnknown : std::uint8_t {
  Keep,     // the verdict of the same task stays; without one it is not used
  Healthy,  // is used, as Marathoner does
};
// A task of an agent that Marathon has lost.
enum class Unreachable : std::uint8_t { LastResort, Use, Drop };

struct Rules {
  std::string label = "marathoner_haproxy_enabled";  // must be "true" or "1"; "": every app
  std::vector<std::string> groups;  // marathon-lb's HAPROXY_GROUP must be one of these; empty: any
  bool udp = false;
  HealthUnknown health_unknown = HealthUnknown::Keep;
  Unreachable unreachable = Unreachable::LastResort;
  IpAddress publish = IpAddress::v4(0x7f000001);  // where apps without LBD_BIND are published

  bool operator==(const Rules&) const = default;
};

// What has to be remembered between two readings; apply_rules keeps it up. Not saved.
struct Memory {
  // By task id: the last known health. Of tasks that are missing too, within limits: an answer may
  // be empty by mistake.
  std::map<std::string, bool> verdicts;
  // Tasks whose end an event has told, until a reading lacks them or has them starting again. They
  // drain like KILLING ones.
  std::set<std::string> ended;
  // Which app has which service, in force: it keeps it from others while it lives.
  std::map<ServiceKey, std::string> owners;
};

// nullopt: the name is not known (yet, or any more).
using Resolve = std::function<std::optional<IpAddress>(const std::string& name)>;

struct Outcome {
  std::vector<ServicePtr> services;   // sorted by key, no key twice
  std::vector<std::string> warnings;  // "/app task: what is wrong and what was done", no two equal
  std::set<std::string> names;        // hosts of all tasks that are not addresses
  // Tasks that are being taken away, of apps whose port has passed to another one for that: ids, sorted.
  std::vector<std::string> leaving;
};

// The services that an app claims by its labels and ports, sorted. Several apps may claim one: the app
// that has it keeps it as long as it has a task that is not being taken away, else the first one by id
// with such a task gets it. The others are warned about, and never share it.
[[nodiscard]] std::vector<ServiceKey> claims_of(const App& app, const Rules& rules);

// `previous`: the services of the last outcome, or the saved ones of an earlier run. They lend their
// pointers where nothing has changed, the verdict of a task that was in use, and the last address of
// its host.
[[nodiscard]] Outcome apply_rules(const std::vector<App>& apps, const Rules& rules, Memory& memory,
                                  const Resolve& resolve,
                                  const std::vector<ServicePtr>& previous = {});

}  // namespace lb::marathon
