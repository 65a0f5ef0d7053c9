#include "ebpf/slots.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

namespace lb::bpf {
namespace {

std::uint64_t total_weight(std::span<const Candidate> candidates) {
  std::uint64_t sum = 0;
  for (const auto& candidate : candidates) sum += candidate.weight;
  return sum;
}

std::vector<std::uint64_t> plain_slots(std::span<const Candidate> candidates) {
  std::vector<std::uint64_t> slots;
  for (const auto& candidate : candidates) slots.push_back(LB_SLOT(candidate.id, candidate.id, 0));
  return slots;
}

// Vose's alias method: slot i keeps its own backend for a share of its width, and the rest of the
// width belongs to one other backend. Widths are exact multiples of 1/65536.
std::vector<std::uint64_t> alias_slots(std::span<const Candidate> candidates) {
  const std::size_t n = candidates.size();
  const double sum = static_cast<double>(total_weight(candidates));
  std::vector<double> share;  // 1.0 fills one slot
  for (const auto& candidate : candidates)
    share.push_back(static_cast<double>(candidate.weight) * static_cast<double>(n) / sum);

  std::vector<std::size_t> small, large;
  for (std::size_t i = 0; i < n; ++i) (share[i] < 1.0 ? small : large).push_back(i);

  std::vector<std::uint64_t> slots = plain_slots(candidates);
  while (!small.empty() && !large.empty()) {
    const std::size_t poor = small.back(), rich = large.back();
    small.pop_back();
    const auto threshold = static_cast<std::uint64_t>(share[poor] * 65536.0 + 0.5);
    if (threshold < 65536)
      slots[poor] = LB_SLOT(candidates[poor].id, candidates[rich].id, threshold);
    share[rich] -= 1.0 - share[poor];
    if (share[rich] < 1.0) {
      large.pop_back();
      small.push_back(rich);
    }
  }
  return slots;
}

// Weighted round robin: the turns of each backend lie evenly in the sequence, those of equally heavy ones one
// after the other. Weights too large for the slots are scaled down, none below 1.
std::vector<std::uint64_t> sequence_slots(std::span<const Candidate> candidates) {
  constexpr std::uint64_t kLongest = 1024;  // enough for weights within 0.1 %
  std::vector<std::uint32_t> weights;
  for (const auto& candidate : candidates) weights.push_back(candidate.weight);
  weights = reduce_weights(weights);
  // What would come out anyway, without n x n steps: equal weights take turns.
  if (!weights.empty() &&
      std::all_of(weights.begin(), weights.end(), [](auto w) { return w == 1; }))
    return plain_slots(candidates);
  // With a turn for each that the scaling leaves none, they fit into a set.
  const std::uint64_t n = candidates.size();
  const std::uint64_t limit = std::min(std::max(kLongest, n), LB_SET_MAX_SLOTS - n);
  const auto sum = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
  if (sum > limit)
    for (auto& weight : weights)
      weight = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(weight * limit / sum));
  std::map<std::uint32_t, std::size_t> alike, seen;  // by weight
  for (const auto weight : weights) ++alike[weight];
  std::vector<std::pair<double, std::size_t>> turns;  // when, in 0..1, and whose
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto rank = static_cast<double>(seen[weights[i]]++);
    const double first = (rank + 0.5) / static_cast<double>(alike[weights[i]]);
    for (std::uint32_t turn = 0; turn < weights[i]; ++turn)
      turns.emplace_back((turn + first) / weights[i], i);
  }
  std::sort(turns.begin(), turns.end());
  std::vector<std::uint64_t> slots;
  for (const auto& [when, i] : turns)
    slots.push_back(LB_SLOT(candidates[i].id, candidates[i].id, 0));
  return slots;
}

// FNV-1a with a finaliser: stable across hosts and runs, which std::hash is not.
std::uint64_t hash_name(std::string_view name, std::uint64_t seed) {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ seed;
  for (const char c : name) h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
  return h ^ h >> 33;
}

// Maglev (Eisenbud et al., NSDI 2016, section 3.4): each backend fills the table in an order of its
// own, turn by turn, so that a change moves few clients. Heavier backends get more turns.
std::vector<std::uint64_t> maglev_slots(std::span<const Candidate> candidates) {
  // Primes; about a hundred entries per backend keep shares within 1 %.
  constexpr std::array<std::uint64_t, 8> kSizes{251, 509, 1021, 2039, 4093, 8191, 16381, 32749};
  constexpr std::uint64_t kLargest = 65521;
  std::uint64_t size = kLargest;
  for (const auto candidate_size : kSizes)
    if (candidate_size >= candidates.size() * 100) {
      size = candidate_size;
      break;
    }

  struct Order {
    std::uint64_t next, skip;
    double turns = 0;  // taken when it reaches 1
  };
  std::vector<Order> orders;
  std::uint32_t heaviest = 1;
  for (const auto& candidate : candidates) {
    heaviest = std::max(heaviest, candidate.weight);
    orders.push_back({.next = hash_name(candidate.name, 1) % size,
                      .skip = hash_name(candidate.name, 2) % (size - 1) + 1});
  }
  std::vector<std::uint64_t> slots(size, 0);
  for (std::uint64_t filled = 0; filled < size;)
    for (std::size_t i = 0; i < orders.size() && filled < size; ++i) {
      Order& order = orders[i];
      order.turns += static_cast<double>(candidates[i].weight) / heaviest;
      if (order.turns < 1) continue;
      order.turns -= 1;
      while (slots[order.next] != 0) order.next = (order.next + order.skip) % size;
      slots[order.next] = LB_SLOT(candidates[i].id, candidates[i].id, 0);
      ++filled;
    }
  return slots;
}

// Names each line once behind slots that repeat them.
SlotPlan with_lines(lb_policy policy, std::vector<std::uint64_t> slots,
                    std::span<const Candidate> candidates) {
  if (slots.size() == candidates.size()) return {policy, std::move(slots)};
  const auto lines =
      plain_slots(candidates.first(std::min<std::size_t>(candidates.size(), LB_SET_MAX_LINES)));
  slots.insert(slots.end(), lines.begin(), lines.end());
  return {policy, std::move(slots), static_cast<std::uint32_t>(lines.size())};
}

}  // namespace

SlotPlan plan_slots(Balance balance, bool counted, std::span<const Candidate> candidates) {
  if (candidates.size() > LB_SET_MAX_SLOTS) candidates = candidates.first(LB_SET_MAX_SLOTS);
  if (candidates.empty()) return {};
  switch (balance) {
    case Balance::LeastConn:
      if (counted && candidates.size() <= kScanLimit)
        return {LB_POLICY_LEAST, plain_slots(candidates)};
      [[fallthrough]];
    case Balance::P2c:
      return {counted ? LB_POLICY_P2C : LB_POLICY_RANDOM, alias_slots(candidates)};
    case Balance::Random:
      return {LB_POLICY_RANDOM, alias_slots(candidates)};
    case Balance::RoundRobin:
      return with_lines(LB_POLICY_ROUND_ROBIN, sequence_slots(candidates), candidates);
    case Balance::SourceHash:
      return with_lines(LB_POLICY_HASH, maglev_slots(candidates), candidates);
  }
  bug("impossible balance method");
}

std::vector<std::uint32_t> reduce_weights(std::span<const std::uint32_t> weights) {
  std::uint32_t divisor = 0;
  for (const auto weight : weights) divisor = std::gcd(divisor, weight);
  std::vector<std::uint32_t> out(weights.begin(), weights.end());
  if (divisor > 1)
    for (auto& weight : out) weight /= divisor;
  return out;
}

}  // namespace lb::bpf
