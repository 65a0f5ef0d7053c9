// What the nft dataplane has programmed, as a file: the kernel has the rules, but not what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "nft/dnat_rules.h"

namespace lb {

// Grows when the same services get other rules.
constexpr int kNftRules = 2;

struct NftState {
  nft::DnatServices services{};
  int rules = kNftRules;  // of the lbd that wrote them
  bool guard_forwarding = false;
  // How to know that the rules are still these: nf_tables' generation after the last change of ours, or
  // else a fingerprint of their listing ("" until it was taken).
  std::uint32_t generation = 0;
  std::string fingerprint{};

  bool operator==(const NftState&) const = default;
};

// `here`: the kernel that the state belongs to (this_boot()).
[[nodiscard]] std::string encode(const NftState& state, const std::string& here);
// nullopt: of another boot or network namespace. An error names what is wrong.
[[nodiscard]] Result<std::optional<NftState>> decode_nft_state(const std::string& text,
                                                               const std::string& here);

}  // namespace lb
