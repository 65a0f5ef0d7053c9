// What an updater knows of its listeners, as values: for the API and lbctl.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "relay/fleet.h"
#include "relay/message.h"

namespace lb::relay {

// One listener, connected or lately so, for `lbctl listeners`.
struct ListenerView {
  std::string node;
  std::string address;  // peer, ADDR:PORT
  std::string version;
  bool connected = false;
  bool tls = false;
  bool takes_state = false;  // from us; else it has it from another updater
  bool observes = false;     // programs nothing: a logger
  SysTime since;             // connected, or gone
  std::optional<Position> applied;
  std::uint64_t behind = 0;  // our sequence minus the applied one, when it is ours
  std::optional<std::chrono::milliseconds> lag;  // from sending to acknowledgement, of the last
  std::vector<Counts::Item> counts;              // above 0, sorted
  std::size_t counts_left_out = 0;               // of backends that are not in `counts`,
  std::uint64_t connections_left_out = 0;        // and what they have
  std::vector<OrderReport::Item> orders;         // sorted by id
};

// How far an order is on the whole fleet.
struct FleetProgress {
  FleetOrder order;
  struct Listener {
    std::string node;
    bool connected = true;  // false: gone within the last 10 minutes, its connections are unknown
    bool programmed = false;
    bool ended = false;
    std::uint64_t connections = 0;  // the last known
    std::string why{};              // it does not take the order: its own words
  };
  std::vector<Listener> listeners;  // sorted by node; without those that only observe
  std::uint64_t connections = 0;    // the sum
  // All listeners are connected, have programmed it, and each has reported 0. Never in the first 15 s of an
  // updater, when not all have come back to it.
  bool drained = false;
};

}  // namespace lb::relay
