#include "relay/order_keys.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/text.h"

namespace lb {
namespace {

using nlohmann::json;
using Kind = OrderKeys::View::Kind;

// An order in force is signed again before it is too old to be taken by a new listener: by who made it soon,
// by any other updater later, for the one that made it may be gone for good.
constexpr std::chrono::hours kOwnRenewed = limits::kOrderLife - std::chrono::hours(24);
constexpr std::chrono::hours kOthersRenewed{3 * 24};

// Of an order whose key is unknown: what follows it is dated after it, and must be taken by listeners.
constexpr std::chrono::minutes kUnknownAhead{1};

std::string shortened(const std::string& key) { return key.substr(0, 8) + "..."; }

}  // namespace

OrderKeys OrderKeys::judging() {
  OrderKeys out;
  out.judges_ = true;
  return out;
}

bool OrderKeys::configure(std::vector<std::string> configured,
                          const std::set<std::string>& updaters) {
  configured_ = {std::make_move_iterator(configured.begin()),
                 std::make_move_iterator(configured.end())};
  const auto gone = [&](const auto& one) { return !updaters.contains(one.first); };
  std::erase_if(shown_, gone);
  return std::erase_if(learnt_, gone) > 0;
}

bool OrderKeys::met(const std::string& updater, const std::string& key, SysTime now) {
  if (!key.empty() && !is_order_key(key)) return false;
  shown_[updater] = key;
  if (key.empty() || !configured_.empty()) return false;
  return learnt_.try_emplace(updater, Learnt{key, now}).second;
}

Result<std::string> OrderKeys::trust(const std::string& what, SysTime now) {
  if (!configured_.empty())
    return fail(EEXIST, "[relay] order_keys names the keys that are trusted: change it there");
  if (is_order_key(what)) {
    if (by_hand_.size() >= limits::kOrderKeys && !by_hand_.contains(what))
      return fail(EBUSY, fmt::format("{} keys are trusted by hand already", by_hand_.size()));
    by_hand_.try_emplace(what, now);
    return what;
  }
  const auto shown = shown_.find(what);
  if (shown == shown_.end())
    return fail(ENOENT, fmt::format("'{}' is neither a key nor an updater that this lbd has "
                                    "reached: 'lbctl trust' shows both",
                                    printable(what)));
  if (shown->second.empty())
    return fail(
        ENOENT,
        fmt::format("{} signs nothing: its lbd is older than this one, or has no key", what));
  learnt_[what] = {shown->second, now};
  return shown->second;
}

Result<std::string> OrderKeys::forget(const std::string& what) {
  if (by_hand_.erase(what) > 0) return what;
  const auto learnt = learnt_.find(what);
  if (learnt == learnt_.end())
    return fail(ENOENT, fmt::format("'{}' is no key that was trusted by hand, and no updater whose "
                                    "key was learnt: 'lbctl trust' shows both",
                                    printable(what)));
  std::string key = learnt->second.key;
  learnt_.erase(learnt);
  return key;
}

bool OrderKeys::trusts(const std::string& key) const {
  if (key.empty()) return false;
  if (own_ && own_->public_key() == key) return true;
  if (!configured_.empty()) return configured_.contains(key);
  return by_hand_.contains(key) || std::any_of(learnt_.begin(), learnt_.end(),
                                               [&](const auto& l) { return l.second.key == key; });
}

std::string OrderKeys::why_not(const FleetOrder& order, SysTime now) const {
  if (!judges_) return {};
  if (!order.is_signed())
    return "is signed by no updater: the one that made it runs lbd 0.1, upgrade it first";
  if (!trusts(order.key)) {
    if (follows_ || !configured_.empty())
      return fmt::format(
          "is signed with the key {}, which is not trusted here: 'lbctl trust' shows "
          "what is",
          printable(order.key, 50));
    if (order.time > now + kUnknownAhead)
      return fmt::format("is dated {}, and its key is unknown here: whose clock is wrong?",
                         format_iso8601(order.time));
  }
  if (order.expires <= now)
    return fmt::format(
        "was to be taken until {}: it is an old one that has come back, or a clock "
        "is wrong",
        format_iso8601(order.expires));
  if (order.expires > now + limits::kOrderLife + limits::kOrderAhead)
    return fmt::format("is signed until {}, which is too far ahead: whose clock is wrong?",
                       format_iso8601(order.expires));
  return {};
}

Result<> OrderKeys::sign(FleetOrder& order, SysTime now) const {
  if (own_) return own_->sign(order, now + limits::kOrderLife);
  if (!judges_) return {};
  return fail(ENOKEY,
              no_signer_.empty() ? "this lbd serves no listeners and has no key" : no_signer_);
}

bool OrderKeys::wants_signing(const FleetOrder& order, SysTime now) const {
  if (!own_) return false;
  if (!order.is_signed()) return true;  // of lbd 0.1, saved before the upgrade
  if (!trusts(order.key)) return false;
  return order.expires - now < (order.key == own_->public_key() ? kOwnRenewed : kOthersRenewed);
}

std::vector<OrderKeys::View> OrderKeys::all() const {
  std::vector<View> out;
  if (own_) out.push_back({own_->public_key(), {}, Kind::Own, {}});
  for (const std::string& key : configured_) out.push_back({key, {}, Kind::Configured, {}});
  if (configured_.empty()) {
    for (const auto& [updater, learnt] : learnt_)
      out.push_back({learnt.key, updater, Kind::Learnt, learnt.since});
    for (const auto& [key, since] : by_hand_) out.push_back({key, {}, Kind::ByHand, since});
  }
  for (const auto& [updater, key] : shown_)
    if (!key.empty() && !trusts(key)) out.push_back({key, updater, Kind::Offered, {}});
  return out;
}

std::vector<std::string> OrderKeys::problems() const {
  std::vector<std::string> out;
  if (!judges_) return out;
  if (!no_signer_.empty()) out.push_back("no drain of the fleet can be given here: " + no_signer_);
  for (const auto& [updater, key] : shown_) {
    const auto learnt = learnt_.find(updater);
    if (key.empty()) {
      if (learnt != learnt_.end() || !configured_.empty())
        out.push_back(
            fmt::format("updater {} signs no orders, and its new drains of the fleet are not "
                        "taken: its lbd is older than this one, or has no key, which 'lbctl "
                        "status' says there",
                        updater));
    } else if (!trusts(key)) {
      out.push_back(
          configured_.empty()
              ? fmt::format("updater {0} signs with another key than before ({1} instead of {2}), "
                            "and its drains of the fleet are not taken: was it installed again? "
                            "Then 'lbctl trust {0}'",
                            updater, shortened(key),
                            learnt == learnt_.end() ? "none" : shortened(learnt->second.key))
              : fmt::format("updater {} signs with the key {}, which [relay] order_keys does not "
                            "name: its drains of the fleet are not taken",
                            updater, key));
    }
  }
  return out;
}

json OrderKeys::saved() const {
  json out = json::object();
  for (const auto& [updater, learnt] : learnt_)
    out["learnt"][updater] = {{"key", learnt.key}, {"since", format_iso8601(learnt.since)}};
  for (const auto& [key, since] : by_hand_) out["by_hand"][key] = format_iso8601(since);
  return out.empty() ? json() : out;
}

// What is no key is left out: another may be learnt, or trusted, for it.
void OrderKeys::restore(const json& saved) {
  const json learnt = saved.value("learnt", json::object());
  const json by_hand = saved.value("by_hand", json::object());
  for (const auto& [updater, one] : learnt.items()) {
    const auto since = parse_iso8601(one.at("since").get_ref<const std::string&>());
    const std::string& key = one.at("key").get_ref<const std::string&>();
    if (since && is_order_key(key) && learnt_.size() < limits::kOrderKeys)
      learnt_[updater] = {key, *since};
  }
  for (const auto& [key, one] : by_hand.items()) {
    const auto since = parse_iso8601(one.get_ref<const std::string&>());
    if (since && is_order_key(key) && by_hand_.size() < limits::kOrderKeys) by_hand_[key] = *since;
  }
}

}  // namespace lb
