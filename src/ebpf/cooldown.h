// lb_backend.cooldown for lbd: what the hooks make of it (bpf/lb_eject.h), as functions of values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "bpf/lb_abi.h"

namespace lb::bpf {

using Tick = std::uint32_t;  // 2^22 ns of CLOCK_MONOTONIC, 30 bits of it

[[nodiscard]] Tick tick_at(std::chrono::steady_clock::time_point now);
[[nodiscard]] std::chrono::milliseconds duration_of(std::uint32_t ticks);  // rounded up

// Until the hooks use the line again by themselves, 0: they do. A held line comes after all others.
[[nodiscard]] std::uint32_t ticks_left(std::uint32_t cooldown, Tick now);
[[nodiscard]] std::uint32_t cooldown_until(Tick end, std::uint32_t flags);

// The length and the number of the next ejection of a line that has been back since `line.back_since`.
[[nodiscard]] std::uint32_t next_ejection(const lb_backend_cold& line, Tick now);

// Lines of no higher rank (LB_EJECTED_RANK) than that are used though they are ejected: at most
// `max_ejected` per cent of them are passed over, and never all.
[[nodiscard]] std::uint32_t cutoff(std::span<const std::uint32_t> ranks, std::uint32_t max_ejected);

}  // namespace lb::bpf
