// Looks at the kernel's connection tracking, in this process's network namespace, and changes single entries.
#pragma once

#include <vector>

#include "nft/flow_codec.h"
#include "nft/nfnetlink.h"

namespace lb::nft {

class Flows {
 public:
  // The error says whether connection tracking is missing or may not be used, and what to do.
  [[nodiscard]] static Result<Flows> open();

  // All TCP and UDP flows whose destination was translated, by whomever; or those where it was not.
  [[nodiscard]] Result<std::vector<Flow>> translated() { return list(true); }
  [[nodiscard]] Result<std::vector<Flow>> untranslated() { return list(false); }
  // Forgets a flow: its next packet meets no translation. False where it was gone already.
  [[nodiscard]] Result<bool> forget(const Flow& flow);
  // Makes an open TCP connection known that began unseen, untranslated. False where it was known already.
  [[nodiscard]] Result<bool> add_open(const Address& from, const Address& to);

 private:
  explicit Flows(Nfnetlink netlink) : netlink_(std::move(netlink)) {}
  [[nodiscard]] Result<std::vector<Flow>> list(bool translated);

  Nfnetlink netlink_;
};

}  // namespace lb::nft
