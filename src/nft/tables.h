// Applies rulesets through libnftables, in this process's network namespace, and looks at what is there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace lb::nft {

// A chain of somebody's that drops forwarded packets by its policy, as Docker's and many firewalls do.
struct DroppingChain {
  std::string family, table, chain;  // "ip", "filter", "FORWARD"
};

class Tables {
 public:
  // The error says whether nf_tables is missing or may not be used (CAP_NET_ADMIN), and what to do.
  [[nodiscard]] static Result<Tables> open();
  Tables(Tables&&) noexcept;
  Tables& operator=(Tables&&) noexcept;
  ~Tables();

  // One transaction: all of `ruleset` or nothing. The error holds what nft says of it.
  [[nodiscard]] Result<> apply(const std::string& ruleset);
  // Would the kernel take it? Changes nothing.
  [[nodiscard]] Result<> check(const std::string& ruleset);
  // The tables `ip NAME` and `ip6 NAME` as the kernel has them, without counters and handles: equal text, equal
  // rules. Empty where there are none.
  [[nodiscard]] Result<std::string> list(const std::string& name);
  // Removes both tables; that they are absent is no error.
  [[nodiscard]] Result<> remove(const std::string& name);
  // Changes with every transaction of anybody's in this namespace: cheap to look at.
  [[nodiscard]] Result<std::uint32_t> generation();
  // Forward hooks of others whose policy is drop.
  [[nodiscard]] Result<std::vector<DroppingChain>> dropping_chains(const std::string& own);

 private:
  struct Context;
  explicit Tables(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace lb::nft
