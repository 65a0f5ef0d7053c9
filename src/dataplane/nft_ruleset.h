// The table of the nft dataplane in the kernel: what it holds, whether it still does, and what it takes after a
// restart to know. There is none while no service is published.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/nft_state.h"
#include "nft/tables.h"

namespace lb {

class NftRuleset {
 public:
  using Clock = std::chrono::steady_clock;
  // Until then whoever knows what there shall be has said so, and what is not as it was left is replaced by that.
  static constexpr std::chrono::seconds kFirstLook{10};

  // Takes what the file says as programmed. Writes nothing: rules that are not those of the file
  // are replaced with the first change, or by look(). Only those of another lbd's kind are replaced at once.
  [[nodiscard]] static Result<NftRuleset> open(nft::Tables tables, nft::DnatTable rules,
                                               std::string table, std::string file);

  [[nodiscard]] const nft::DnatServices& services() const { return state_.services; }

  // These services become so, and those are removed: one transaction. On failure everything is as
  // before. No write where the rules are the same.
  [[nodiscard]] Result<> program(std::vector<ProgrammedService> changed,
                                 const std::vector<ServiceKey>& removed, bool guard_forwarding);

  // Puts the rules back if they were changed: how often since it was asked last. Asks the kernel for one number where none has
  // changed anything, so it may be called often: what is dear is done in proportion to what it costs.
  [[nodiscard]] Result<std::size_t> look(Clock::time_point now);
  // Writes the file if it is out of date.
  [[nodiscard]] Result<> save();

  [[nodiscard]] Result<std::vector<nft::DroppingChain>> dropping_chains() {
    return tables_.dropping_chains(table_);
  }

 private:
  NftRuleset(nft::Tables tables, nft::DnatTable rules, std::string table, std::string file)
      : tables_(std::move(tables)),
        table_(std::move(table)),
        file_(std::move(file)),
        rules_(std::move(rules)),
        next_look_(Clock::now() + kFirstLook) {}

  [[nodiscard]] Result<> adopt(NftState saved);
  [[nodiscard]] Result<> write_change(const nft::DnatServices& before,
                                      const nft::DnatServices& after);
  [[nodiscard]] Result<> write_all();
  [[nodiscard]] Result<> write(const std::string& rules, bool all);
  [[nodiscard]] Result<> compare(std::uint32_t generation);
  [[nodiscard]] bool is_right(const std::string& listed) const;
  [[nodiscard]] Result<std::string> fingerprint();
  // Makes rules_ know what is there, without writing it.
  void take_account() { (void)rules_.replace(state_.services, state_.guard_forwarding); }

  nft::Tables tables_;
  std::string table_, file_;
  nft::DnatTable rules_;
  NftState state_;
  bool doubtful_ = false;  // the kernel's rules may not be those of state_
  bool unsaved_ = false;
  std::size_t repairs_ = 0;  // that look() has not told yet
  Clock::time_point next_look_;
};

}  // namespace lb
