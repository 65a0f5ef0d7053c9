// What the kernel shall have, and what it was seen to have: the values between reconcile, the
// dataplanes and the code that talks to the kernel.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/service.h"

namespace lb {

struct ProgrammedBackend {
  Address address;
  std::uint32_t weight = 0;  // 0: keeps its connections, gets no new ones
  bool drained = false;      // by an operator: known by this again, should lbd's own files be lost

  auto operator<=>(const ProgrammedBackend&) const = default;
};

// One service as the kernel shall have it.
struct ProgrammedService {
  ServiceKey key;  // identity, and what getpeername() reports
  // Where it can be reached: key.address and its aliases, or every local address for 0.0.0.0 and ::.
  // Empty: steers nothing (left by its source), but its backends' connections are still counted.
  std::vector<IpAddress> addresses;
  Balance balance = Balance::LeastConn;
  std::vector<ProgrammedBackend> backends;  // sorted by address
  // IPVS: local clients' source is laundered, so that backends elsewhere can be reached. Decided when
  // the service is made and never toggled under its connections, so it is not compared.
  bool launder = true;
  // Of `addresses`, in their order: those at which clients of other hosts are not served.
  std::vector<IpAddress> withheld{};

  bool operator==(const ProgrammedService& other) const {
    return key == other.key && addresses == other.addresses && balance == other.balance &&
           backends == other.backends && withheld == other.withheld;
  }
};

struct FailedConnects {
  std::uint64_t refused = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t gave_up = 0;  // the client closed before the answer came, or failed locally
  std::uint64_t other = 0;    // unreachable and the like
};

// The kernel passes a backend over, because it refused or did not answer.
struct Ejection {
  std::chrono::milliseconds lasts{};  // until it is tried again
  bool held = false;  // it did not answer: only a look of lbd's that succeeds ends this
  std::chrono::milliseconds ago{};  // since when
};

struct ObservedBackend {
  Address address;
  bool listed = false;  // part of the service as last upserted; else only its connections remain
  std::uint32_t weight = 0;                           // as programmed; 0 when not listed
  std::optional<std::uint64_t> active_connections{};  // exact; nullopt for UDP
  std::uint64_t total_connections = 0;  // how often the hook chose it, since first programmed
  FailedConnects failed{};
  std::string refused{};              // why this dataplane cannot use it; empty: it can
  std::optional<Ejection> ejected{};  // `weight` stays as programmed
  std::uint64_t ejections = 0;        // since lbd started
  bool drained = false;               // as programmed
  bool unexplained = false;  // programmed by an lbd that did not note whether it was drained
};

struct ObservedService {
  ServiceKey key;
  std::vector<IpAddress> addresses;       // sorted
  Balance balance = Balance::LeastConn;   // with the weights: what a restart compares
  std::vector<ObservedBackend> backends;  // sorted by address
  // False: it was removed, and is known only by connections that are left.
  bool programmed = true;
  std::string
      local_only{};  // why clients of other hosts are not served by a service that is for them; empty: they are
  std::vector<IpAddress> withheld{};  // of `addresses`, as programmed
  std::string left_out{};             // why some of its backends get no connections; empty: all do
};

struct Observed {
  std::vector<ObservedService> services;  // sorted by key
};

// Null: it is not there.
[[nodiscard]] inline const ObservedService* find_service(const Observed& observed,
                                                         const ServiceKey& key) {
  const auto found =
      std::lower_bound(observed.services.begin(), observed.services.end(), key,
                       [](const ObservedService& s, const ServiceKey& k) { return s.key < k; });
  return found != observed.services.end() && found->key == key ? &*found : nullptr;
}

struct ConnectFailure {
  enum class Kind : std::uint8_t { Refused, TimedOut, GaveUp, Other, SynRetransmitted, Ejected };
  Kind kind = Kind::Other;
  ServiceKey service;
  Address backend;
  int error = 0;  // errno as the client saw it; 0 where there is none
  // Nothing that a client chooses for its socket could have made it fail so.
  bool plain = false;
  // A connect of lbd's own has failed: `kind` and `error` are what that met.
  bool confirmed = false;
  // The kernel has ejected the backend: lbd is to look after this time, just before it is tried again.
  std::optional<std::chrono::milliseconds> look_after{};

  bool operator==(const ConnectFailure&) const = default;
};

}  // namespace lb
