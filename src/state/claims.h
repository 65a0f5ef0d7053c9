// Who owns which service when several sources claim it: the first source of the configuration wins
// whole, backends never merge. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/reach.h"
#include "model/service.h"
#include "state/port_ranges.h"

namespace lb {

// One configured source, in the order of the configuration.
struct SourceInput {
  std::string name;
  const Snapshot* snapshot = nullptr;  // admitted by the guard, delivered or loaded; null: neither
  PortRanges ports;
  // Without a snapshot: its first attempt has failed. Until then later sources wait with keys that
  // it might claim; after that they need not, else a dead etcd would keep files from working.
  bool gave_up = false;
  std::string formerly{};  // its name in the configuration before; empty: the same
  // It is configured no more, and has in force what those that wait came instead of: it waits for none.
  bool former = false;
  std::shared_ptr<const Reach> reach{};  // null: any address
};

struct OwnedService {
  ServicePtr service;
  std::uint32_t source = 0;  // index into View::sources
  bool refused = false;      // outside what the source may claim: listed, not programmed
  std::string why{};         // a sentence, where it is refused

  bool operator==(const OwnedService&) const = default;
};

// A claim that is not in force, for `lbctl sources`.
struct Claim {
  std::string source;
  ServiceKey key;
  std::string service;  // its name there
  std::string winner;   // the source that owns the key; empty while that is undecided
  std::string reason;   // a sentence

  bool operator==(const Claim&) const = default;
};

struct View {
  struct SourceRef {
    std::string name;
    PortRanges ports;
    std::shared_ptr<const Reach> reach{};  // null: any address
    bool operator==(const SourceRef& other) const {
      return name == other.name && ports == other.ports &&
             (reach == other.reach || (reach && other.reach && *reach == *other.reach));
    }
  };
  std::vector<SourceRef> sources;
  std::vector<OwnedService> services;  // sorted by key, no key twice
  std::vector<Claim> losers;           // sorted by key, then by source order
  // Every source has delivered or was loaded. Before that, what the kernel has and no source names
  // must be left alone: its source may still come.
  bool complete = false;
};

// Why `source` may not have a service there, and which line of configuration allows it; "": it may. A wildcard stands for those
// addresses that it may have, and is never refused for the others.
[[nodiscard]] std::string why_refused(const View::SourceRef& source, const ServiceKey& key,
                                      const HostView& host);

// `previous`, if any, keeps its owner while a key is undecided.
[[nodiscard]] View resolve_claims(std::span<const SourceInput> sources, const View* previous,
                                  const HostView& host = {});

}  // namespace lb
