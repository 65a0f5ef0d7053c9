// What lbctl doctor looks at on this host, as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ebpf/probe.h"
#include "nft/tables.h"

namespace lb::lbctl {

struct Mount {
  std::string point;
  std::string type;

  bool operator==(const Mount&) const = default;
};

struct HostFacts {
  std::string kernel;              // "6.1.0-56-amd64"
  std::vector<Mount> mounts;       // all of /proc/self/mountinfo
  bool btf = false;                // /sys/kernel/btf/vmlinux can be read
  std::uint64_t capabilities = 0;  // CapEff
  std::vector<HookProbe> hooks;
  Result<> sock_destroy;
  Result<> membarrier;
  Result<std::vector<std::string>> connect_programs;  // on the cgroup2 root
  Result<> ipvs;
  Result<> nf_tables;
  std::vector<nft::DroppingChain> dropping_chains;  // of forwarded packets, and not lbd's
};

[[nodiscard]] HostFacts look_at_host();

// The pure parts, for tests.
[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);
[[nodiscard]] std::optional<std::string> mount_point(const std::vector<Mount>& mounts,
                                                     std::string_view type);

}  // namespace lb::lbctl
