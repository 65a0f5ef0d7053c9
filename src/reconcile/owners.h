// Who holds the ports of this host's own backends. A backend with `uid` gets new connections only
// while all sockets that listen where its connections arrive are that user's: the port of a backend
// that has died may be taken by another user. Pure but for the log: the caller reads who listens.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/reach.h"
#include "reconcile/listeners.h"
#include "state/owner_verdicts.h"

namespace lb {

struct WantedOwner {
  ServiceKey service;
  Address backend;
  Uid uid = 0;
  std::string service_name{};
  std::string origin{};  // the file, for messages

  auto operator<=>(const WantedOwner&) const = default;
};

struct Holder {
  enum class Kind : std::uint8_t {
    Unknown,    // not read yet, or not for too long
    Own,        // the user that is wanted, alone
    Nothing,    // no socket listens: another user may have the port the next moment
    Other,      // also where several share the port and one of them is another user's
    Elsewhere,  // the address is not this host's
  };
  Kind kind = Kind::Unknown;
  Uid uid = 0;  // of Other

  auto operator<=>(const Holder&) const = default;
};

// `listeners` is sorted.
[[nodiscard]] Holder find_holder(const WantedOwner& wanted, const std::vector<Listener>& listeners,
                                 const HostView& host);

class Owners {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Names = std::map<Uid, std::string>;  // "": the user has none
  // From the start of one look to that of the next. Another user's socket that takes the port
  // between two looks gets connections until the second has ended.
  static constexpr std::chrono::milliseconds kInterval{250};
  // Of a look; one that takes longer has failed.
  static constexpr std::chrono::milliseconds kLimit{2'000};
  // While looks fail, for so long what the last good one found stays in force.
  static constexpr std::chrono::seconds kKept{10};
  // An unprivileged user may take and leave a port as often as he likes: the log names the same
  // holder of a backend's port once in this time.
  static constexpr std::chrono::minutes kToldAgain{1};

  // True: some of them were not looked at yet.
  [[nodiscard]] bool want(std::vector<WantedOwner> wanted);
  [[nodiscard]] bool any() const { return !entries_.empty(); }
  // The host's addresses have changed: want() says that all is to be looked at again.
  void look_again();
  // What a look that began at `began` has found. True: verdicts() is another.
  bool looked(const Result<std::vector<Listener>>& listeners, const HostView& host, Time began,
              Time now);

  // Users whose names are not known yet. Finding them reads a file.
  [[nodiscard]] std::set<Uid> unnamed() const;
  // True: verdicts() is another.
  bool named(Names names);

  [[nodiscard]] const OwnerVerdicts& verdicts() const { return verdicts_; }
  // Why who listens cannot be read, and what follows; empty: it can.
  [[nodiscard]] std::string problem() const;
  // Backends that cannot have a uid, a sentence each.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  struct Entry {
    WantedOwner wanted;
    bool seen = false;
    Holder holder;
    Holder told{Holder::Kind::Own};  // what the log has last heard
    std::map<Holder, Time> told_at;
  };

  bool publish();
  [[nodiscard]] std::string text_of(const Entry& entry) const;
  [[nodiscard]] std::string user(Uid uid) const;  // "uid 1001 (postgres)"
  void tell(Entry& entry, Time now) const;

  std::map<OwnerVerdicts::key_type, Entry> entries_;
  OwnerVerdicts verdicts_;
  Names names_;
  Time began_{}, good_{};  // the last look, and the last that did not fail
  std::string error_;
  bool stale_ = false;  // looks have failed for longer than kKept
};

}  // namespace lb
