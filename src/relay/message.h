// The push protocol between lbds, version 1: one JSON object per line, docs/RELAY.md. Listeners
// dial, both sides say hello, updaters send states, listeners acknowledge. Unknown types and
// fields are ignored. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "model/service.h"
#include "relay/fleet.h"
#include "relay/line_shape.h"

namespace lb::relay {

constexpr int kProtocol = 1;
constexpr std::size_t kLineLimit = limits::kUpdaterLine;
constexpr std::chrono::seconds kPingEvery{5};
constexpr std::chrono::seconds kDeadAfter{15};  // silence

// A state of one updater: sequence numbers mean something within an epoch only, which is one run
// of one updater.
struct Position {
  std::string epoch;
  std::uint64_t sequence = 0;

  bool operator==(const Position&) const = default;
};

// Of one source of an updater, with a snapshot.
struct SourceMark {
  std::string name;
  std::string revision;
  SysTime as_of;    // of the state that is in force
  SysTime read_at;  // when that was last known to be the whole truth
  bool ok = true;   // false: it fails now

  bool operator==(const SourceMark&) const = default;
};

// listener -> updater
struct ListenerHello {
  int protocol = kProtocol;
  std::string node;     // host name
  std::string version;  // of lbd
  std::optional<Position> have;
  bool wants_state = false;        // false: control only (pings, drains, counts)
  std::vector<FleetOrder> orders;  // the first of those that it knows, the others follow
  // Programs nothing (a logger): no drain waits for it.
  bool observes = false;
  std::string refused{};  // as in Orders
};
struct Feed {  // changes the connection's mind about wants_state
  bool wants_state = false;
  std::optional<Position> have;
};
struct Ack {
  Position applied;  // is in the kernel
};
struct Resync {};  // send me a snapshot
// Connections per backend as the listener's kernel counts them, changed ones only; 0: none left.
struct Counts {
  struct Item {
    ServiceKey service;  // with the listener's own address
    Address backend;
    std::uint64_t connections = 0;
    bool operator==(const Item&) const = default;
  };
  bool complete = false;  // what is not named is 0
  std::vector<Item> items;
};
// How far the orders are at this listener; sent when that changes.
struct OrderReport {
  struct Item {
    std::string id;
    bool programmed = false;  // no new connection goes there
    bool ended = false;
    std::uint64_t connections = 0;  // of the backends that it covers
    std::string why{};              // it is not taken, and so not programmed: why, for people
    bool operator==(const Item&) const = default;
  };
  std::vector<Item> items;
  bool complete = true;  // all orders that it knows; false: more of the report before
};

// updater -> listener
struct UpdaterHello {
  int protocol = kProtocol;
  std::string node;
  std::string version;
  Position at;
  std::vector<FleetOrder> orders;  // as those of a listener
  std::string order_key{};         // by which it signs orders; empty: lbd 0.1
  std::string refused{};
};
struct SnapshotMessage {
  Position at;
  std::vector<SourceMark> sources;
  std::vector<ServicePtr> services;  // sorted by ServiceRef
};
// Two services may have the same key at a listener: one that names the address that is the
// listener's default one, and one that names none. They stay apart; see visible() in replica.h.
struct ServiceRef {
  ServiceKey key;
  bool default_address = false;

  auto operator<=>(const ServiceRef&) const = default;
};
// Changes of backends alone: one backend of a service is all that most deltas are about.
struct BackendPatch {
  ServiceRef service;
  std::vector<Backend> set;   // new or different; sorted by address
  std::vector<Address> gone;  // sorted

  bool operator==(const BackendPatch&) const = default;
};
// Made by make_delta() (feed.h), used by apply() (replica.h).
struct Delta {  // after `base` of the same epoch
  Position at;
  std::uint64_t base = 0;
  std::vector<SourceMark> sources;
  std::vector<ServicePtr> changed;    // whole services: new, or different in more than backends
  std::vector<BackendPatch> patched;  // others of which backends are different
  std::vector<ServiceRef> removed;
};
struct Orders {
  std::vector<FleetOrder> orders;  // new or newer ones, within the limits
  // Not sent: why some that were over the limits are not in `orders`, of the first. "": none.
  std::string refused{};
};

// both ways
struct Ping {
  // Of an updater: are all its sources well, and when were they last read (the oldest of them)?
  bool ok = true;
  std::optional<SysTime> read_at;
};
struct Goodbye {
  std::string reason;  // why the connection is being closed: protocol, TLS, too slow
};

using Message = std::variant<ListenerHello, Feed, Ack, Resync, Counts, OrderReport, UpdaterHello,
                             SnapshotMessage, Delta, Orders, Ping, Goodbye>;

// With the newline. A service whose address is the default one goes without it.
[[nodiscard]] std::string encode(const Message& message);
// `line` without its newline. nullopt: a type that this version does not know. `publish` stands in
// for the address of services that have none of their own. The error (EBADMSG) quotes what is wrong,
// printably. A hello of an impossible protocol number has protocol 0 and nothing else; names and
// reasons of others come out printable and short, texts of services cut to limits::kText. Orders over
// the limits, and those with a signature that is not their key's, are left out. What is of a kind that `from` does not send, or too long for its kind, is
// refused before it is parsed.
[[nodiscard]] Result<std::optional<Message>> decode(std::string_view line, const IpAddress& publish,
                                                    From from = From::Anyone);

}  // namespace lb::relay
