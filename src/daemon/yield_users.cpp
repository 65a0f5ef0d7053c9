#include "daemon/yield_users.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/config.h"

namespace lb {
namespace {

constexpr std::string_view kEverybody = "*";
constexpr std::size_t kLongestName = 256;

bool is_numeric(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_user_or_group(std::string_view text) {
  if (is_numeric(text)) return parse_id(text).has_value();
  return text.size() <= kLongestName && text.find_first_of(" :/,") == std::string_view::npos;
}

std::optional<Gid> resolve_group(const std::string& group) {
  return is_numeric(group) ? parse_id(group) : ask_for_gid(group);
}

Result<> check_user(std::string_view text) {
  constexpr auto kHint = "write a user's name, a number such as \"99\", or \"*\" for everybody";
  if (is_user_or_group(text)) return {};
  return fail(fmt::format("'{}' is no user: {}", text.substr(0, kLongestName), kHint));
}

Yielding resolve_yield_to(const std::vector<std::string>& users,
                          const std::function<std::optional<Uid>(const std::string&)>& find,
                          const std::function<std::optional<Uid>(const std::string&)>& ask) {
  const bool configured = users != DataplaneConfig().yield_to;
  Yielding out;
  for (const std::string& user : users) {
    if (user == kEverybody) {
      out.to.everybody = true;
      continue;
    }
    auto uid = is_numeric(user) ? parse_id(user) : find(user);
    if (!uid && configured && !is_numeric(user)) uid = ask(user);
    if (uid)
      out.to.uids.insert(*uid);
    else if (configured)
      out.unknown.push_back(user);
  }
  return out;
}

std::string describe(const Yielding& yielding) {
  if (yielding.to.everybody) return "everybody";
  std::vector<std::string> users;
  for (const Uid uid : yielding.to.uids) users.push_back(uid == 0 ? "root" : name_user(uid));
  std::string out = fmt::format("{}", fmt::join(users, ", "));
  if (!yielding.unknown.empty())
    out += fmt::format("; this host has no user {}", fmt::join(yielding.unknown, ", "));
  return out;
}

}  // namespace lb
