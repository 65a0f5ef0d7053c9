// Keeps the nft tables beside IPVS as the entries want them: changes them in proportion, notices when somebody else did, and
// knows after a restart that nothing has to be written.
#pragma once

#include <cstdint>
#include <string>

#include "nft/ipvs_rules.h"
#include "nft/tables.h"

namespace lb {

class IpvsTables {
 public:
  IpvsTables(nft::Tables tables, std::string name)
      : tables_(std::move(tables)), name_(std::move(name)) {}

  // After a start: `fingerprint` is what fingerprint() gave when `rules` were in force, or anything else. Writes
  // unless the kernel still has just that.
  [[nodiscard]] Result<> adopt(const nft::IpvsRules& rules, const std::string& fingerprint);
  [[nodiscard]] Result<> apply(const nft::IpvsRules& rules);
  // Puts the tables back if somebody changed them; true if so.
  [[nodiscard]] Result<bool> repair();

  // Of the rules and of how the kernel lists them; empty while something has been written since it was last
  // asked for and has not been listed. Lists the tables then.
  [[nodiscard]] Result<std::string> fingerprint();
  [[nodiscard]] bool unlisted() const { return fingerprint_.empty(); }  // since our last write
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  [[nodiscard]] Result<> write(const std::string& text);
  [[nodiscard]] Result<std::string> fingerprint_now();

  nft::Tables tables_;
  std::string name_;
  nft::IpvsRules rules_;
  std::string fingerprint_;       // empty: to be taken
  std::uint32_t generation_ = 0;  // of nftables, when we last wrote or listed
  std::uint64_t writes_ = 0;
};

}  // namespace lb
