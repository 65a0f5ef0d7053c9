#include "base/users.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"

namespace lb {
namespace {

constexpr std::size_t kLargestPasswd = std::size_t{4} << 20;
constexpr std::size_t kFirstEntry = 4096, kLargestEntry = std::size_t{1} << 20;

struct PasswdLine {
  std::string_view name;
  std::optional<Uid> uid;
};

// "name:x:1000:1000:..."
PasswdLine parse_passwd_line(std::string_view line) {
  PasswdLine out;
  const auto name = line.find(':');
  const auto password = name == line.npos ? name : line.find(':', name + 1);
  if (password == line.npos) return out;
  out.name = line.substr(0, name);
  const std::string_view rest = line.substr(password + 1);
  out.uid = parse_id(rest.substr(0, rest.find(':')));
  return out;
}

template <class Fn>
void each_user(const std::string& passwd, Fn stop_at) {
  const auto text = read_file(passwd, kLargestPasswd);
  if (!text) return;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const PasswdLine user = parse_passwd_line(line);
    if (user.uid && stop_at(user)) return;
  }
}

// getpwnam_r and getgrnam_r, which say by ERANGE that an entry needs more room.
template <class Entry, class Ask>
std::optional<Entry> ask(Ask ask_for) {
  for (std::size_t size = kFirstEntry; size <= kLargestEntry; size *= 4) {
    std::vector<char> room(size);
    Entry entry{};
    Entry* found = nullptr;
    const int error = ask_for(&entry, room.data(), room.size(), &found);
    if (error == ERANGE) continue;
    return found != nullptr ? std::optional(entry) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (ec != std::errc{} || end != text.data() + text.size() || id > kLargestId) return std::nullopt;
  return id;
}

std::optional<Uid> find_uid(std::string_view name, const std::string& passwd) {
  std::optional<Uid> uid;
  each_user(passwd, [&](const PasswdLine& user) {
    if (user.name != name) return false;
    uid = user.uid;
    return true;
  });
  return uid;
}

std::string find_user_name(Uid uid, const std::string& passwd) {
  std::string name;
  each_user(passwd, [&](const PasswdLine& user) {
    if (user.uid != uid) return false;
    name = printable(user.name);
    return true;
  });
  return name;
}

std::string name_user(Uid uid, const std::string& passwd) {
  const std::string name = find_user_name(uid, passwd);
  return name.empty() ? fmt::format("uid {}", uid) : fmt::format("{} (uid {})", name, uid);
}

std::optional<Uid> ask_for_uid(const std::string& name) {
  const auto entry = ask<passwd>([&](passwd* into, char* room, std::size_t size, passwd** found) {
    return ::getpwnam_r(name.c_str(), into, room, size, found);
  });
  return entry ? std::optional<Uid>(entry->pw_uid) : std::nullopt;
}

std::optional<Gid> ask_for_gid(const std::string& name) {
  const auto entry = ask<group>([&](group* into, char* room, std::size_t size, group** found) {
    return ::getgrnam_r(name.c_str(), into, room, size, found);
  });
  return entry ? std::optional<Gid>(entry->gr_gid) : std::nullopt;
}

}  // namespace lb
