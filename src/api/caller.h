// Who is at the other end of the control socket, as the kernel says, and what he may do.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/users.h"

namespace lb {

enum class Right : std::uint8_t { None, Read, Drain, All };  // each has those before it

// [api]: members of these groups, beside root and lbd's own user, who may do everything. Without `group` the socket's own group is meant.
struct ApiAccess {
  std::optional<Gid> group;       // may read and drain
  std::optional<Gid> read_group;  // may only read
};

struct Peer {
  Uid uid = 0;
  pid_t pid = 0;
  std::vector<Gid> groups;  // his first one and all others
};

struct Caller {
  Right right = Right::All;
  std::string who = "lbd";  // for the audit: "uid=1000 name=alice pid=77"
};

// By SO_PEERCRED and SO_PEERGROUPS: as of his connect().
[[nodiscard]] Result<Peer> peer_of(int socket);
[[nodiscard]] Right right_of(const Peer& peer, const ApiAccess& access, Uid own);
// `name` is the user's, or empty.
[[nodiscard]] std::string describe_peer(const Peer& peer, const std::string& name);

}  // namespace lb
