// The capabilities of a process that matter to lbd, by number: linux/capability.h of an older build host
// does not have the last two.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lb {

constexpr unsigned kCapNetAdmin = 12, kCapSysAdmin = 21, kCapPerfmon = 38, kCapBpf = 39;

// As /proc/PID/status shows them ("CapEff:"), one bit each; 0 when the text has no such line.
[[nodiscard]] std::uint64_t parse_effective_capabilities(std::string_view proc_status);
// Of this process; 0 when /proc cannot be read.
[[nodiscard]] std::uint64_t effective_capabilities();

[[nodiscard]] constexpr bool holds(std::uint64_t capabilities, unsigned bit) {
  return (capabilities >> bit & 1U) != 0;
}

// What loading BPF programs needs and is not held: "CAP_BPF, CAP_PERFMON"; empty: all is held.
// CAP_SYS_ADMIN contains these two, and not CAP_NET_ADMIN.
[[nodiscard]] std::string missing_for_bpf(std::uint64_t capabilities);

}  // namespace lb
