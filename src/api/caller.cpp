#include "api/caller.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

// NGROUPS_MAX of Linux.
constexpr std::size_t kMostGroups = 65'536;

Result<std::vector<Gid>> groups_of(int socket) {
  std::vector<Gid> groups(64);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(Gid));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(Gid));
      return groups;
    }
    if (errno != ERANGE || groups.size() >= kMostGroups)
      return fail(errno, "ask for a peer's groups");
    groups.resize(std::min<std::size_t>(
        std::max<std::size_t>(size / sizeof(Gid), 2 * groups.size()), kMostGroups));
  }
}

bool is_member(const Peer& peer, const std::optional<Gid>& group) {
  return group && std::find(peer.groups.begin(), peer.groups.end(), *group) != peer.groups.end();
}

}  // namespace

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail(errno, "ask for a peer's user");
  Peer out{.uid = credentials.uid, .pid = credentials.pid, .groups = {}};
  LB_TRY(out.groups, groups_of(socket));
  out.groups.push_back(credentials.gid);
  return out;
}

Right right_of(const Peer& peer, const ApiAccess& access, Uid own) {
  if (peer.uid == 0 || peer.uid == own) return Right::All;
  if (is_member(peer, access.group)) return Right::Drain;
  return is_member(peer, access.read_group) ? Right::Read : Right::None;
}

std::string describe_peer(const Peer& peer, const std::string& name) {
  return fmt::format("uid={} name={} pid={}", peer.uid, name.empty() ? "?" : printable(name),
                     peer.pid);
}

}  // namespace lb
