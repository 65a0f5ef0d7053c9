// The hooks of lbd's programs: what each is for, and what is lost where a kernel refuses it. Only the two
// that steer are indispensable; lbd runs without any of the others, and says so.
#pragma once

#include <linux/bpf.h>

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb::bpf {

struct Hook {
  const char* section;  // as in SEC(): "cgroup/connect4"
  bpf_prog_type type;
  bpf_attach_type attach;
  const char* btf_name;  // tracepoint or iterator; null for cgroup hooks
  const char* meaning;   // what lbd does there
  const char* loss;      // one sentence: what is so without it; null: lbd cannot do without
};

[[nodiscard]] std::span<const Hook> all_hooks();
// Null when lbd has no such hook.
[[nodiscard]] const Hook* find_hook(std::string_view section);

// Hooks that are not in force, by section, and why.
using Refusals = std::map<std::string, Error, std::less<>>;

constexpr auto kCountingHook = "tp_btf/inet_sock_set_state";
constexpr auto kTcpWalkHook = "iter/tcp";
constexpr auto kUdpWalkHook = "iter/udp";

// Why the kernel refuses a program, with the one thing to do: rights that are missing, or, when they are
// all held, a kernel that refuses it even so.
[[nodiscard]] std::string explain_refusal(const Error& error, std::uint64_t capabilities);

}  // namespace lb::bpf
