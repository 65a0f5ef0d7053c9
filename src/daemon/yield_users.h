// dataplane.yield_to: from names to users.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/users.h"
#include "reconcile/listeners.h"

namespace lb {

// A name, or a number below 2^32 - 1.
[[nodiscard]] bool is_user_or_group(std::string_view text);

// [api] group: nullopt for one that this host does not have. Asks the host's stores of names: not for the loop.
[[nodiscard]] std::optional<Gid> resolve_group(const std::string& group);

// A user's name, a numeric uid, or "*".
[[nodiscard]] Result<> check_user(std::string_view text);

struct Yielding {
  YieldTo to;
  std::vector<std::string> unknown;  // names that this host does not have
};

// The names that are yielded to unless others are configured need not exist, and are looked for in /etc/passwd alone. Another name is
// also asked of the host's stores of names, however long those take: not for the loop.
[[nodiscard]] Yielding resolve_yield_to(
    const std::vector<std::string>& users,
    const std::function<std::optional<Uid>(const std::string&)>& find =
        [](const std::string& name) { return find_uid(name); },
    const std::function<std::optional<Uid>(const std::string&)>& ask = ask_for_uid);

// "root, haproxy (uid 99); this host has no user envoy"
[[nodiscard]] std::string describe(const Yielding& yielding);

}  // namespace lb
