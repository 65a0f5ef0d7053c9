// Every limit of what other lbds say and of what the files in state_dir hold, in one place: what is
// longer, later or more is refused, cut or left out where it is read. Sizes are bytes. What lbd itself
// writes is within them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lb::limits {

// --- times
// A duration that a person or another lbd names. Longer is never meant, and sums of it overflow nothing.
constexpr std::chrono::hours kDuration{365 * 24};
// An order of a clock that is ahead of ours.
constexpr std::chrono::hours kOrderAhead{24};
// Beyond that, how much newer an order may be than the one that it replaces.
constexpr std::chrono::seconds kOrderStep{1};

// Who does not know an order takes it for so long after it was signed. Longer than that, undrains and
// orders that have ended are remembered, so that none comes back.
constexpr std::chrono::hours kOrderLife{7 * 24};

// --- numbers
constexpr std::uint64_t kConnections = 1'000'000'000;  // of one backend or order at one host

// --- texts
constexpr std::size_t kName = 253;     // of a node, a source, a version; what is shown to people
constexpr std::size_t kText = 1024;    // a name, id, host or origin of a service or a backend
constexpr std::size_t kOrderId = 100;  // of a fleet order
constexpr std::size_t kWhy = 200;      // why a listener does not take an order
constexpr std::size_t kTarget = 300;   // of a drain: a host name, or an address with its port
// One order as text. Its ids are those of the tasks at one address, mostly one.
constexpr std::size_t kOrder = 16 * 1024;

// --- lists
constexpr std::size_t kOrders = 10'000;                     // fleet orders, in force or over
constexpr std::size_t kOrdersSize = std::size_t{16} << 20;  // of all of them
constexpr std::size_t kOrdersRefused = 100;                 // not taken, kept to be looked at again
constexpr std::size_t kOrderKeys = 1'000;   // of updaters, learnt or trusted by hand
constexpr std::size_t kOrderIds = 64;       // of one order
constexpr std::size_t kDrainIds = 1'000;    // of one drain of this host
constexpr std::size_t kDrains = 10'000;     // drains of this host
constexpr std::size_t kSources = 1'000;     // of an updater
constexpr std::size_t kServices = 100'000;  // of a state
constexpr std::size_t kBackends = 100'000;  // of a service
constexpr std::size_t kCounts = 200'000;    // backends that a listener counts

// --- lines of the push protocol, by who sends them
constexpr std::size_t kHelloLine = std::size_t{1}
                                   << 20;  // before it, nothing is known of the sender
constexpr std::size_t kListenerLine = std::size_t{4} << 20;  // counts of 70,000 backends
constexpr std::size_t kUpdaterLine = std::size_t{32} << 20;  // a whole state
constexpr std::size_t kSmallLine = std::size_t{64} << 10;    // ping, ack, feed, resync, bye
constexpr int kDepth = 16;                                   // of brackets; ours have 5
// A value takes up to 160 bytes of memory: no line has more of them than one in 4 bytes.
constexpr std::size_t kBytesPerValue = 4;
constexpr std::size_t kValuesAnyway = 64;
// What lbd sends in one line, where it can be cut into several.
constexpr std::size_t kPiece = 32 * 1024;

// --- what an updater keeps of its listeners
constexpr std::size_t kListeners = 10'000;  // connections that have said hello
constexpr std::size_t kStrangers = 4'096;   // connections that have not
constexpr std::size_t kStrangersPerAddress =
    2'048;                                   // a fleet behind one address comes back at once
constexpr std::size_t kFreeRead = 8 * 1024;  // of an unfinished line, that counts for nothing
constexpr std::size_t kUnfinished = std::size_t{32} << 20;  // of unfinished lines beyond that
constexpr std::size_t kAllCounts = 400'000;                 // backends counted by all listeners
constexpr std::size_t kAllReports = 200'000;                // orders reported by all listeners
constexpr std::size_t kFairShare = 50;                      // of both, that every listener may have
constexpr std::size_t kGone = 10'000;                       // listeners that have gone
constexpr std::size_t kGonePerAddress = 1'000;
constexpr std::size_t kGoneReports = 50'000;    // orders that those were behind with
constexpr std::size_t kShownBackends = 20'000;  // in one answer about listeners

}  // namespace lb::limits
