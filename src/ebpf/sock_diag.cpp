#include "ebpf/sock_diag.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/netlink_errno.h"
#include "base/unique_fd.h"

namespace lb::bpf {
namespace {

struct DestroyRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

DestroyRequest destroy_request(const lb_socket& socket) {
  DestroyRequest request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto& id = request.body.id;
  request.body.sdiag_family = static_cast<__u8>(socket.family);
  request.body.sdiag_protocol = socket.proto;
  request.body.idiag_states = ~0u;
  id.idiag_sport = socket.local_port;
  id.idiag_dport = socket.peer_port;
  id.idiag_if = socket.bound_device;
  id.idiag_cookie[0] = static_cast<__u32>(socket.cookie);
  id.idiag_cookie[1] = static_cast<__u32>(socket.cookie >> 32);
  if (socket.family == AF_INET) {
    id.idiag_src[0] = socket.local_ip[3];
    id.idiag_dst[0] = socket.peer_ip[3];
  } else {
    std::memcpy(id.idiag_src, socket.local_ip, sizeof id.idiag_src);
    std::memcpy(id.idiag_dst, socket.peer_ip, sizeof id.idiag_dst);
  }
  return request;
}

// The kernel's answer to one request: 0 or an errno.
int exchange(int fd, const DestroyRequest& request) {
  if (::send(fd, &request, sizeof request, 0) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 4096> answer;
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  if (n < 0) return errno;
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (static_cast<std::size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr)) ||
      header->nlmsg_type != NLMSG_ERROR)
    return EBADMSG;
  return netlink_errno(reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(header))->error);
}

// include/net/tcp_states.h, one bit each.
constexpr __u32 kTimeWait = 1U << 6, kClose = 1U << 7, kListen = 1U << 10, kNewSynRecv = 1U << 12;

struct DumpRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

lb_socket to_socket(const inet_diag_msg& message) {
  lb_socket out{};
  const auto& id = message.id;
  out.cookie = std::uint64_t{id.idiag_cookie[1]} << 32 | id.idiag_cookie[0];
  out.family = message.idiag_family;
  out.proto = IPPROTO_TCP;
  out.state = message.idiag_state;
  out.local_port = id.idiag_sport;
  out.peer_port = id.idiag_dport;
  out.bound_device = id.idiag_if;
  if (message.idiag_family == AF_INET) {
    out.local_ip[2] = out.peer_ip[2] = htonl(0xffff);
    out.local_ip[3] = id.idiag_src[0];
    out.peer_ip[3] = id.idiag_dst[0];
  } else {
    std::memcpy(out.local_ip, id.idiag_src, sizeof out.local_ip);
    std::memcpy(out.peer_ip, id.idiag_dst, sizeof out.peer_ip);
  }
  return out;
}

Result<> dump(int fd, __u8 family, std::vector<lb_socket>& out) {
  DumpRequest request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = ~(kTimeWait | kClose | kListen | kNewSynRecv);
  if (::send(fd, &request, sizeof request, 0) < 0) return fail(errno, "ask for TCP sockets");
  alignas(nlmsghdr) static thread_local std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "list TCP sockets");
    LB_TRY(const bool done,
           parse_sockets(std::as_bytes(std::span(buffer)).first(static_cast<std::size_t>(n)), out));
    if (done) return {};
  }
}

}  // namespace

Result<bool> parse_sockets(std::span<const std::byte> datagram, std::vector<lb_socket>& out) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > datagram.size())
      return fail(EBADMSG, "list TCP sockets");
    const auto payload = datagram.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    if (header.nlmsg_type == NLMSG_DONE) return true;
    if (header.nlmsg_type == NLMSG_ERROR) {
      int error = -EBADMSG;  // nlmsgerr begins with it
      if (payload.size() >= sizeof error) std::memcpy(&error, payload.data(), sizeof error);
      return fail(error < 0 && error > -4096 ? -error : EBADMSG, "list TCP sockets");
    }
    inet_diag_msg message{};
    if (payload.size() >= sizeof message) {
      std::memcpy(&message, payload.data(), sizeof message);
      out.push_back(to_socket(message));
    }
    datagram =
        datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  return false;
}

Result<std::vector<lb_socket>> list_tcp() {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail(errno, "open a sock_diag socket");
  std::vector<lb_socket> out;
  LB_CHECK(dump(fd.get(), AF_INET, out));
  LB_CHECK(dump(fd.get(), AF_INET6, out));
  return out;
}

Result<std::uint64_t> destroy(const std::vector<lb_socket>& sockets) {
  if (sockets.empty()) return 0;
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail(errno, "open a sock_diag socket");
  std::uint64_t destroyed = 0;
  for (const auto& socket : sockets) {
    const int err = exchange(fd.get(), destroy_request(socket));
    if (err == EOPNOTSUPP)
      return fail(err, "this kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY is off)");
    if (err != 0 && err != ENOENT) return fail(err, "end a socket");
    if (err == 0) ++destroyed;
  }
  return destroyed;
}

}  // namespace lb::bpf
