// How a balance method and its weights become slots: pure arithmetic, tested without a kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bpf/lb_abi.h"
#include "model/service.h"

namespace lb::bpf {

// A backend that takes new connections.
struct Candidate {
  std::uint32_t id = 0;      // its line
  std::uint32_t weight = 1;  // above 0
  std::string name;          // address:port; what Maglev hashes, so that hosts agree on the table

  bool operator==(const Candidate&) const = default;
};

struct SlotPlan {
  lb_policy policy = LB_POLICY_RANDOM;
  std::vector<std::uint64_t> slots;  // empty: no usable backend
  // The last of `slots`, which no draw reaches: each line once, where the others repeat them. What the
  // share of the ejected is counted by.
  std::uint32_t lines = 0;

  [[nodiscard]] std::span<const std::uint64_t> drawn() const {
    return std::span(slots).first(slots.size() - lines);
  }
  // struct lb_service.set of these slots at `base`.
  [[nodiscard]] std::uint64_t word(std::uint32_t base) const {
    return LB_SET_WITH_LINES(LB_SET(base, drawn().size(), policy), lines);
  }
  bool operator==(const SlotPlan&) const = default;
};

// Above this number of backends a scan costs more than it is worth (about 5 ns each), and two
// weighted draws are compared instead.
constexpr std::size_t kScanLimit = 32;

// `counted`: the connections of each candidate are known. Where they are not (UDP, or a kernel that
// refuses the counting program) least-conn and p2c become weighted random.
[[nodiscard]] SlotPlan plan_slots(Balance balance, bool counted,
                                  std::span<const Candidate> candidates);

// Divides by the greatest common divisor, so that equal weights are 1 and cost the hook no division.
[[nodiscard]] std::vector<std::uint32_t> reduce_weights(std::span<const std::uint32_t> weights);

}  // namespace lb::bpf
