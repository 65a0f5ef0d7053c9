// What lbd tells others about the backends of a Merlion prefix, as etcd keys and values. Pure.
// Which keys and who writes them: docs/OPERATIONS.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "etcd/types.h"

namespace lb {

struct MerlionBackendState {
  std::optional<SysTime> last_seen;  // nullopt: never
  bool unavailable = false;          // stale, exited or never seen; as in Merlion not: disabled
  bool disabled = false;
  std::optional<SysTime> exited_at;
  std::string exit_reason;
  std::optional<std::uint64_t> active_connections;
  std::uint32_t weight = 0;  // effective: 0 gets no new connections

  bool operator==(const MerlionBackendState&) const = default;
};
using MerlionState = std::map<std::string, MerlionBackendState>;  // by the backend's name

// Of one backend: values by the last segment of their keys.
using MerlionStateKeys = std::map<std::string, std::string>;
[[nodiscard]] MerlionStateKeys merlion_state_keys(const MerlionBackendState& state);
// Whether a name can be one segment of a key, in both APIs of etcd.
[[nodiscard]] bool is_key_segment(std::string_view name);

// Holds back what changes all the time, so that etcd is not asked to write it all the time.
class MerlionPacing {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // Takes over what may be shown by now. Returns whose states are shown differently from before.
  std::vector<std::string> look(const MerlionState& state, SteadyTime now);
  // What is shown of a backend; null: it is not there.
  [[nodiscard]] const MerlionBackendState* shown(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;
  // When something that is held back may be shown; max(): nothing is.
  [[nodiscard]] SteadyTime due() const { return due_; }

 private:
  struct Paced {
    MerlionBackendState state;
    SteadyTime seen_at, connections_at;  // when these two were shown last
  };
  bool pace(Paced& paced, const MerlionBackendState& state, SteadyTime now);
  bool pass(SteadyTime allowed, SteadyTime now);

  std::map<std::string, Paced> paced_;
  SteadyTime due_ = SteadyTime::max();
};

struct MerlionWrite {
  enum class Kind : std::uint8_t { Put, Remove, RemoveAll };
  Kind kind = Kind::Put;
  std::string name;   // of the backend
  std::string key;    // last segment; of RemoveAll ""
  std::string value;  // of Put
};

// What is known to be in etcd below one folder of backends, and what has to be written there.
class MerlionFolder {
 public:
  explicit MerlionFolder(std::string root) : root_(std::move(root)) {}

  [[nodiscard]] const std::string& root() const { return root_; }  // "/state/backends/"
  [[nodiscard]] std::string path(const MerlionWrite& write) const;

  // The state of this backend may differ from what is written.
  void touch(const std::string& name) { touched_.insert(name); }
  [[nodiscard]] bool any_touched() const { return !touched_.empty(); }
  // Whole backends of those touched, until there are `enough` writes. What is there already and changes
  // comes first: many new backends must not delay the news about one. They are touched no more.
  [[nodiscard]] std::vector<MerlionWrite> take_writes(const MerlionPacing& pacing,
                                                      std::size_t enough);
  // Between the two nobody knows what is there. A failed write is never done: touch it.
  void begin(const MerlionWrite& write);
  void done(const MerlionWrite& write);

  // A listing of the root. Only what was written under `lease` and is still there counts as written;
  // what else there is of backends that are shown is overwritten or removed. Others' backends are left
  // alone.
  void found(const std::vector<etcd::KeyValue>& kvs, std::int64_t lease,
             const MerlionPacing& pacing);
  [[nodiscard]] std::vector<std::string> keys() const;   // all that are known to be written
  [[nodiscard]] std::vector<std::string> names() const;  // of backends that may have keys

 private:
  using Written = std::map<std::string, std::optional<std::string>>;  // nullopt: not known

  [[nodiscard]] static std::vector<MerlionWrite> difference(const std::string& name,
                                                            const Written& written,
                                                            const MerlionBackendState* state);
  std::string root_;
  std::map<std::string, Written> written_;  // by the backend's name
  std::set<std::string> touched_;
};

}  // namespace lb
