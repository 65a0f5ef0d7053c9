// Opening and loading lbd's programs. A kernel may refuse each of them by itself; what it refuses is left
// out, except the hooks that steer.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "base/result.h"
#include "ebpf/hooks.h"
#include "ebpf/maps.h"

struct lbd;  // the generated skeleton

namespace lb::bpf {

struct Options {
  std::string cgroup;      // a folder of cgroup2
  std::string bpffs;       // our folder below a bpffs
  bool host_scope = true;  // false: serve the sockets of all network namespaces
  Sizes sizes;
  std::set<std::string>
      refuse;  // sections of hooks to be treated as refused by the kernel: for tests
};

struct SkeletonDeleter {
  void operator()(lbd* skeleton) const;
};
using Skeleton = std::unique_ptr<lbd, SkeletonDeleter>;

// Opens the object with the sizes and the scope of `options`; programs of hooks in `refused` will not be
// loaded.
[[nodiscard]] Result<Skeleton> open_programs(const Options& options, const Refusals& refused);

// All or nothing; libbpf's words about a failure are logged at debug level.
[[nodiscard]] Result<> load_programs(lbd& skeleton);

// Tries each hook alone, with maps of its own that go at once: which ones the kernel refuses, `known`
// among them. An error when it refuses one that is indispensable, or none that explains the failure.
[[nodiscard]] Result<Refusals> find_refused(const Options& options, const Refusals& known);

// Whether a program of this hook is loaded.
[[nodiscard]] bool is_loaded(lbd& skeleton, std::string_view section);

// Network namespace of this process, as SO_NETNS_COOKIE gives it.
[[nodiscard]] Result<std::uint64_t> own_netns_cookie();

}  // namespace lb::bpf
