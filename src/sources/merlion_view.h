// What one Merlion prefix says, kept up to date by ranges and watch events, and judged by time.
// Pure: every call is told what time it is. Rules: docs/ARCHITECTURE.md.
//
// A value that turns bad keeps its last good one, and so does a key of the configuration that a listing
// lacks without evidence, for a minute: what is written again after a wipe comes key by key, and must
// not listen at the default address meanwhile. Freshness is judged by the steady clock, and only
// while in sync: after every resynchronisation what was in use gets one full freshness before it can
// expire. It expires when etcd was asked after that (confirm()), so that after a late wake-up what
// waits is read first. What points at etcd or at this host is not taken as evidence against all
// backends: a full etcd, all of them silent within one freshness, connects to all of them failed.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "etcd/types.h"
#include "model/service.h"
#include "sources/clocks.h"
#include "sources/merlion_backend.h"
#include "sources/merlion_schema.h"

namespace lb {

class MerlionView {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  // The address of a name, if it is known; `pending` when the question is still open.
  struct Lookup {
    std::optional<IpAddress> ip;
    bool pending = false;
    std::string error;
  };
  using LookupFn = std::function<Lookup(const std::string&)>;

  // `saved`: the service of an earlier run, which last looked at `as_of`, or nothing.
  explicit MerlionView(std::string prefix, ServicePtr saved = nullptr, SysTime as_of = {});

  [[nodiscard]] const std::string& prefix() const { return prefix_; }
  [[nodiscard]] std::string config_range() const { return prefix_ + "/"; }
  // The range of the backends, "" while there is no valid configuration.
  [[nodiscard]] std::string backend_range() const;
  // The last good configuration; null when there never was one.
  [[nodiscard]] const MerlionConfig* config() const { return config_ ? &*config_ : nullptr; }
  [[nodiscard]] const std::string& config_error() const { return config_error_; }
  [[nodiscard]] const std::map<std::string, MerlionBackend>& backends() const { return backends_; }

  // A complete range of all configuration keys.
  void replace_config(const std::vector<etcd::KeyValue>& kvs, bool trusted, Moment now);
  // A complete range of all backend keys; from here on the view is in sync. `trusted`: from the same
  // cluster at a revision not below the last seen.
  void replace_backends(const std::vector<etcd::KeyValue>& kvs, bool trusted, Moment now);
  void apply(const etcd::Event& event, Moment now);
  // The connection is gone: time stands still for freshness.
  void lost(Moment now);
  // A full etcd, for status and log. `why`: its own words.
  [[nodiscard]] static std::string full_text(std::string_view why);
  // Nobody can write to etcd, as its own words in `why` say ("": it takes writes again): time stands
  // still, as heartbeats cannot arrive.
  void set_full(std::string why, Moment now);
  // Some expire as soon as etcd is known to have nothing to say about them.
  [[nodiscard]] bool unconfirmed() const { return unconfirmed_; }
  // etcd was asked at `asked`, and all that it had to say until then was read.
  void confirm(SteadyTime asked, Moment now);
  // A connect to a backend of the service that build() returned has failed. Believed at once is a plain
  // refusal that leaves others in use, and what lbd has met itself. True: this one is not believed yet.
  [[nodiscard]] bool connect_failed(const ConnectFailure& failure, Moment now);
  // They cannot be tried: that all others have failed is all that can be known.
  void set_unused(const Unused& backends, Moment now);
  // Judges every backend by the clock. Needed when next_look() has come; everything else judges what it
  // touches.
  void tick(Moment now);
  [[nodiscard]] SteadyTime next_look() const { return next_look_; }

  // Whether build() may say something new.
  [[nodiscard]] bool dirty() const { return dirty_; }
  void touch() { dirty_ = true; }  // a name has got another address
  [[nodiscard]] std::set<std::string> names() const;

  struct Built {
    ServicePtr service;  // the same pointer as long as nothing has changed; null: no valid config
    std::vector<std::string> warnings;
    Absence absence = Absence::Believed;  // Guarded: something that is there had to be left out
  };
  [[nodiscard]] Built build(const LookupFn& lookup);
  // Something went missing lately without evidence that it has gone.
  [[nodiscard]] bool suspicious(Moment now) const {
    return suspect_until_ && now.steady < *suspect_until_;
  }
  // A listing lacked it, and not just a lease ran out.
  [[nodiscard]] bool suspicious_listing(Moment now) const {
    return listing_suspect_until_ && now.steady < *listing_suspect_until_;
  }

 private:
  using Backends = std::map<std::string, MerlionBackend>;  // by name

  void reread_config();
  void forget_missing(Moment now);
  void give_grace(Moment now);
  void apply_backend(const etcd::Event& event, std::string_view rest, Moment now);
  bool judge(MerlionBackend& backend, Moment now);  // true when something shown has changed
  bool judge_all(Moment now);
  void settle_first_sight(Moment now);
  void compare(Moment now);
  void compare_once(Moment now);
  [[nodiscard]] bool are_all_silent(SteadyTime now, SteadyTime* since) const;
  [[nodiscard]] bool have_all_failed() const;
  [[nodiscard]] std::set<std::string> unused_names() const;
  [[nodiscard]] bool others_are_usable(const std::string& name) const;
  void add_clock_warnings(Built& out) const;
  void add_common_faults(const Service& service, Built& out) const;
  void suspect(Moment now);
  void suspect_listing(Moment now);
  [[nodiscard]] std::string key_name(std::string_view name, std::string_view key) const;
  [[nodiscard]] std::optional<Backend> make_backend(const std::string& name,
                                                    const MerlionBackend& known,
                                                    const LookupFn& lookup, Built& out) const;
  void add_backends(Service& service, const LookupFn& lookup, Built& out) const;

  std::string prefix_;
  std::map<std::string, std::string> config_values_;
  std::map<std::string, std::string> missing_values_;  // keys without evidence of their end
  std::optional<MerlionConfig> config_;                // last good
  std::string config_error_;
  Backends backends_;
  Unused unused_;
  std::map<std::string, MerlionBackend::Saved> saved_states_;  // until the first range
  SysTime saved_as_of_;
  ServicePtr built_;          // last built, or saved
  std::string loaded_range_;  // whose backends_ they are
  std::optional<SteadyTime> listing_suspect_until_;
  bool in_sync_ = false;
  std::string full_;
  SteadyTime confirmed_ = SteadyTime::min();
  bool unconfirmed_ = false;
  bool all_silent_ = false;
  bool all_failed_ = false;
  bool exits_differ_ = false;  // some are out, or are so no more, since all were compared
  bool dirty_ = false;
  SteadyTime next_look_ = SteadyTime::max();
  std::optional<SteadyTime> suspect_until_;
};

}  // namespace lb
