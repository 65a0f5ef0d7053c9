#include "dataplane/nft_ruleset.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "dataplane/this_boot.h"

namespace lb {
namespace {

constexpr auto kRulesEvery = std::chrono::seconds(5);
constexpr int kShare = 20;  // a listing takes at most one twentieth of the time
constexpr auto kLongestRest = std::chrono::seconds(15);  // or more, where it takes very long

// FNV-1a: compared only with what lbd itself has listed.
std::string hash_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return fmt::format("{:016x} {}", hash, text.size());
}

}  // namespace

Result<NftRuleset> NftRuleset::open(nft::Tables tables, nft::DnatTable rules, std::string table,
                                    std::string file) {
  NftRuleset out(std::move(tables), std::move(rules), std::move(table), std::move(file));
  NftState saved;
  if (const auto text = read_own_file(out.file_)) {
    auto state = decode_nft_state(*text, this_boot());
    if (!state)
      spdlog::warn("dataplane=nft {}: {}; beginning anew", out.file_, state.error().message());
    else if (*state)
      saved = **std::move(state);
  } else if (text.error().code != std::errc::no_such_file_or_directory) {
    return tl::unexpected(text.error());
  }
  LB_CHECK(out.adopt(std::move(saved)));
  return out;
}

Result<> NftRuleset::adopt(NftState saved) {
  state_ = std::move(saved);
  take_account();
  if (std::exchange(state_.rules, kNftRules) != kNftRules && !state_.services.empty())
    return write_all();
  LB_TRY(const std::uint32_t generation, tables_.generation());
  if (generation == state_.generation) return {};
  LB_TRY(const std::string now, fingerprint());
  doubtful_ = !is_right(now);
  state_.generation = generation;
  unsaved_ = true;
  if (doubtful_)
    spdlog::info("dataplane=nft table={} is not as it was left, and will be replaced", table_);
  return {};
}

Result<> NftRuleset::program(std::vector<ProgrammedService> changed,
                             const std::vector<ServiceKey>& removed, bool guard_forwarding) {
  nft::DnatServices before, after;
  const auto remember = [&](const ServiceKey& key) {
    if (const auto it = state_.services.find(key); it != state_.services.end())
      before.insert_or_assign(key, it->second);
  };
  for (ProgrammedService& service : changed) {
    remember(service.key);
    after.insert_or_assign(service.key, std::move(service));
  }
  for (const ServiceKey& key : removed) remember(key);
  if (before == after && guard_forwarding == state_.guard_forwarding && !doubtful_) return {};

  const bool was_there = !state_.services.empty();
  const bool guarded = std::exchange(state_.guard_forwarding, guard_forwarding);
  for (const auto& [key, service] : before) state_.services.erase(key);
  for (const auto& [key, service] : after) state_.services.insert_or_assign(key, service);
  const bool all =
      doubtful_ || !was_there || state_.services.empty() || guarded != guard_forwarding;
  unsaved_ = true;
  // Before there is a table: where the file is missing, nobody looks for one to remove.
  auto written = was_there ? Result<>{} : save();
  if (written) written = all ? write_all() : write_change(before, after);
  unsaved_ = true;
  if (written) return written;
  for (const auto& [key, service] : after) state_.services.erase(key);
  for (const auto& [key, service] : before) state_.services.insert_or_assign(key, service);
  state_.guard_forwarding = guarded;
  take_account();
  return written;
}

Result<> NftRuleset::write_change(const nft::DnatServices& before, const nft::DnatServices& after) {
  const auto written = write(rules_.change(before, after), false);
  if (written) return {};
  // Somebody took away what the change builds upon.
  spdlog::warn("dataplane=nft table={} cannot be changed ({}), replacing it", table_,
               written.error().message());
  LB_CHECK(write_all());
  ++repairs_;
  return {};
}

Result<> NftRuleset::write_all() {
  LB_CHECK(write(rules_.replace(state_.services, state_.guard_forwarding), true));
  doubtful_ = false;
  return {};
}

// The generation grows by one with our transaction: by more if somebody else's came between, and then
// look() finds it to be another one.
Result<> NftRuleset::write(const std::string& rules, bool all) {
  if (rules.empty()) return {};
  LB_TRY(const std::uint32_t before, tables_.generation());
  LB_CHECK(tables_.apply(rules));
  LB_TRY(const std::uint32_t after, tables_.generation());
  if ((all || before == state_.generation) && after == before + 1) state_.generation = after;
  state_.fingerprint.clear();
  return {};
}

Result<std::size_t> NftRuleset::look(Clock::time_point now) {
  if (now >= next_look_ && (!state_.services.empty() || doubtful_)) {
    const auto began = Clock::now();
    LB_TRY(const std::uint32_t generation, tables_.generation());
    LB_CHECK(compare(generation));
    const auto rest =
        std::clamp<Clock::duration>(kShare * (Clock::now() - began), kRulesEvery, kLongestRest);
    next_look_ = now + rest;
  }
  return std::exchange(repairs_, 0);
}

// An absent table has no fingerprint, and neither have rules that were not listed since they were written: the one must not pass
// for the other.
bool NftRuleset::is_right(const std::string& listed) const {
  if (state_.services.empty()) return listed.empty();
  return !listed.empty() && listed == state_.fingerprint;
}

Result<> NftRuleset::compare(std::uint32_t generation) {
  const bool ours = generation == state_.generation && !doubtful_;
  if (ours && !state_.fingerprint.empty()) return {};
  LB_TRY(const std::string now, fingerprint());
  if (ours) {
    LB_TRY(const std::uint32_t still, tables_.generation());
    if (still == generation)
      state_.fingerprint = now;  // else another program is at it: at the next look
    unsaved_ = true;
    return {};
  }
  unsaved_ = true;
  if (is_right(now)) {
    state_.generation = generation;
    doubtful_ = false;
    return {};
  }
  LB_CHECK(write_all());
  LB_TRY(const std::string ours_again, fingerprint());
  LB_TRY(const std::uint32_t after, tables_.generation());
  if (after == state_.generation || now == ours_again) state_.fingerprint = ours_again;
  // Without a fingerprint from before, any change of anybody's brings us here.
  if (now != ours_again) ++repairs_;
  return {};
}

Result<std::string> NftRuleset::fingerprint() {
  LB_TRY(const std::string listing, tables_.list(table_));
  return listing.empty() ? std::string() : hash_of(listing);
}

Result<> NftRuleset::save() {
  if (!unsaved_) return {};
  LB_CHECK(write_file_atomically(file_, encode(state_, this_boot())));
  unsaved_ = false;
  return {};
}

}  // namespace lb
