#include "dataplane/ipvs_tables.h"

#include <functional>

#include <fmt/format.h>

namespace lb {

Result<> IpvsTables::adopt(const nft::IpvsRules& rules, const std::string& fingerprint) {
  rules_ = rules;
  LB_TRY(const std::string now, fingerprint_now());
  if (now == fingerprint) return {};
  return write(nft::render(name_, rules_));
}

Result<> IpvsTables::apply(const nft::IpvsRules& rules) {
  if (rules == rules_) return {};
  const std::string change = nft::render_change(name_, rules_, rules);
  auto done = change.empty() ? Result<>{} : write(change);
  // Elements that somebody took away cannot be removed; the whole can always be written.
  if (!done) done = write(nft::render(name_, rules));
  if (done) rules_ = rules;
  return done;
}

Result<bool> IpvsTables::repair() {
  LB_TRY(const std::uint32_t generation, tables_.generation());
  if (generation == generation_) return false;
  // Not listed since our own change: how it shall look is seen by writing it once more.
  const bool unknown = fingerprint_.empty();
  const std::string expected = fingerprint_;
  LB_TRY(const std::string found, fingerprint_now());
  if (found == expected) return false;
  LB_CHECK(write(nft::render(name_, rules_)));
  if (!unknown) return true;
  LB_TRY(const std::string ours, fingerprint_now());
  return found != ours;
}

Result<std::string> IpvsTables::fingerprint() {
  if (!fingerprint_.empty()) return fingerprint_;
  return fingerprint_now();
}

Result<> IpvsTables::write(const std::string& text) {
  fingerprint_.clear();
  ++writes_;
  LB_CHECK(tables_.apply(text));
  LB_TRY(generation_, tables_.generation());
  return {};
}

Result<std::string> IpvsTables::fingerprint_now() {
  // The generation first: what changes in between is looked at once more.
  LB_TRY(generation_, tables_.generation());
  LB_TRY(const std::string listed, tables_.list(name_));
  const std::hash<std::string> hash;
  fingerprint_ = fmt::format("{:016x}{:016x}", hash(nft::render(name_, rules_)), hash(listed));
  return fingerprint_;
}

}  // namespace lb
