// Whose orders for the fleet this lbd takes. The keys of updaters: named by the configuration, or learnt
// once from an updater that this lbd has dialled itself, or trusted by an operator.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "base/time.h"
#include "relay/fleet_order.h"
#include "relay/order_signature.h"

namespace lb {

class OrderKeys {
 public:
  // For the API and lbctl.
  struct View {
    enum class Kind : std::uint8_t {
      Own,         // this lbd signs with it
      Configured,  // [relay] order_keys
      Learnt,      // the first that the updater has shown
      ByHand,      // `lbctl trust KEY`
      Offered,     // shown by the updater now, and not trusted
    };
    std::string key;
    std::string updater;  // as configured; empty: of no particular one
    Kind kind = Kind::Own;
    std::optional<SysTime> since;

    bool operator==(const View&) const = default;
  };

  // Trusts what it has been told of. One that is made without judges nothing: it takes every order, signed
  // or not, for who passes orders on and follows none.
  OrderKeys() = default;
  [[nodiscard]] static OrderKeys judging();

  // What the configuration says. `configured` not empty: these keys alone are trusted, beside the own one.
  // What was learnt of an updater that is not in `updaters` any more is forgotten: then true.
  bool configure(std::vector<std::string> configured, const std::set<std::string>& updaters);
  // false: an updater without connections of its own. No order does anything to it, so that it remembers what
  // an unknown key has signed as well: its operators see what other updaters have said, and listeners
  // that know the key hear of it. It vouches for nothing of that.
  void set_follows(bool follows) { follows_ = follows; }
  // This lbd makes orders.
  void set_own(OrderSigner signer) {
    own_ = std::move(signer);
    no_signer_.clear();
  }
  // Without it this lbd makes none; `why` says why.
  void set_unsigned(std::string why) { no_signer_ = std::move(why); }

  // A dialled updater has shown its key; "": it signs nothing. true: something is trusted that was not.
  bool met(const std::string& updater, const std::string& key, SysTime now);
  // What an operator says: an updater, whose offered key is taken for the one that was learnt, or a key.
  // The key. EEXIST: the configuration names the keys. ENOENT: nothing is offered. EINVAL: neither.
  [[nodiscard]] Result<std::string> trust(const std::string& what, SysTime now);
  // An updater, or a key that was trusted by hand. ENOENT: no such one.
  [[nodiscard]] Result<std::string> forget(const std::string& what);

  // "": it may be taken now, by who does not know it yet. Looks at no signature: check_signature().
  [[nodiscard]] std::string why_not(const FleetOrder& order, SysTime now) const;
  [[nodiscard]] bool trusts(const std::string& key) const;
  // Remembered for others, and to be taken only where there is much room.
  [[nodiscard]] bool is_unknown(const FleetOrder& order) const {
    return judges_ && order.is_signed() && !trusts(order.key);
  }
  // Signs it for limits::kOrderLife from `now` on. ENOKEY: this lbd has no key.
  [[nodiscard]] Result<> sign(FleetOrder& order, SysTime now) const;
  [[nodiscard]] std::string own() const { return own_ ? own_->public_key() : std::string(); }
  // An order in force for which this lbd can vouch, and that no new listener would take much longer.
  [[nodiscard]] bool wants_signing(const FleetOrder& order, SysTime now) const;

  [[nodiscard]] std::vector<View> all() const;
  // What keeps orders from being taken or made, one sentence each.
  [[nodiscard]] std::vector<std::string> problems() const;

  // What is to be saved; null: nothing. restore() throws nlohmann's exceptions.
  [[nodiscard]] nlohmann::json saved() const;
  void restore(const nlohmann::json& saved);

 private:
  struct Learnt {
    std::string key;
    SysTime since;
  };

  bool judges_ = false;
  bool follows_ = true;
  std::optional<OrderSigner> own_;
  std::string no_signer_;
  std::set<std::string> configured_;
  std::map<std::string, Learnt> learnt_;  // by updater
  std::map<std::string, SysTime> by_hand_;
  std::map<std::string, std::string> shown_;  // by updater, in this run; "": signs nothing
};

[[nodiscard]] constexpr std::string_view to_string(OrderKeys::View::Kind kind) {
  using Kind = OrderKeys::View::Kind;
  switch (kind) {
    case Kind::Own:
      return "own";
    case Kind::Configured:
      return "configured";
    case Kind::Learnt:
      return "learnt";
    case Kind::ByHand:
      return "by hand";
    case Kind::Offered:
      return "not trusted";
  }
  return "";
}

}  // namespace lb
