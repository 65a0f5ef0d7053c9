// What of Merlion's schema a backend's own registration reads and writes. Pure: what is in etcd and
// what shall be there go in, the writes in their order come out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "etcd/types.h"

namespace lb::lbctl {

struct BackendKeys {
  std::string folder;   // "/services/web/host1-8023/"
  std::string address;  // "host1:8023"

  [[nodiscard]] std::string key(std::string_view name) const { return folder + std::string(name); }
};

// What shall be in etcd.
enum class Goal : std::uint8_t {
  Announced,  // as Seen, and no `disabled` of an earlier run
  Seen,       // the address, and a last-seen-at of now
  Disabled,   // no new connections
  Gone,
};

struct KeyWrite {
  std::string key;
  std::optional<std::string> value;  // null: removed
  bool operator==(const KeyWrite&) const = default;
};

struct WritePlan {
  std::vector<KeyWrite> writes;  // in this order
  bool remove_folder = false;
  // Another process has registered this name at this address. Its keys are left alone, unless we are
  // the newcomer.
  std::string other_address;
  bool operator==(const WritePlan&) const = default;
};

// An entry is never half made in a way that is balanced to: lbd uses it once address and last-seen-at
// are there and `disabled` is not, hence their order.
[[nodiscard]] WritePlan plan_writes(const BackendKeys& keys,
                                    const std::vector<etcd::KeyValue>& there, Goal goal,
                                    SysTime now);

// "2026-01-31T12:00:00+00:00", as `date -Iseconds` in Merlion's quick start.
[[nodiscard]] std::string last_seen_at(SysTime now);

// What every lbd says below its state-etcd-prefix of one backend.
struct PublishedLeft {
  std::size_t publishers = 0;      // that tell a count
  std::size_t still_choosing = 0;  // of them, not yet disabled there
  std::uint64_t connections = 0;
};

// Each lbd writes STATE/hosts/HOST/backends/NAME/..., and Merlion's STATE/backends/NAME/... is one
// publisher more; its count repeats those of the hosts and is added only where there are none.
[[nodiscard]] PublishedLeft read_published(const std::vector<etcd::KeyValue>& there,
                                           const std::string& state_prefix,
                                           const std::string& name);

}  // namespace lb::lbctl
