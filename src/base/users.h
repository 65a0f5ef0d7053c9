// Users of this host by /etc/passwd alone: other stores of names (NSS) may be servers that do not answer, so they are asked at the
// start only, and only for names that the configuration has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lb {

using Uid = std::uint32_t;
using Gid = std::uint32_t;
constexpr std::uint32_t kLargestId = 0xfffffffe;  // the next one means "no id" to the kernel

// nullopt: the file has no such name.
[[nodiscard]] std::optional<Uid> find_uid(std::string_view name,
                                          const std::string& passwd = "/etc/passwd");
// "haproxy (uid 99)", or "uid 99" where that has no name. Reads a file: not for the loop.
[[nodiscard]] std::string name_user(Uid uid, const std::string& passwd = "/etc/passwd");

// "99": at most kLargestId.
[[nodiscard]] std::optional<std::uint32_t> parse_id(std::string_view text);

// Only the name; empty where it has none.
[[nodiscard]] std::string find_user_name(Uid uid, const std::string& passwd = "/etc/passwd");

// By the host's own stores of names, whatever they are: may take as long as those do.
[[nodiscard]] std::optional<Uid> ask_for_uid(const std::string& name);
[[nodiscard]] std::optional<Gid> ask_for_gid(const std::string& name);

}  // namespace lb
