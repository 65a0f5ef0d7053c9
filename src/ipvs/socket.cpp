#include "ipvs/socket.h"

#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "ipvs/module.h"

namespace lb::ipvs {
namespace {

using NlSocket = std::unique_ptr<nl_sock, CloseNetlink>;

constexpr std::size_t kSmall =
    4096;  // an acknowledgement is 36 bytes, with the kernel's words some hundred
constexpr std::size_t kLarge =
    65536;  // the kernel fills up to 32 KiB of a dump, and less into less
constexpr std::size_t kArena = 4 * kLarge;
constexpr std::size_t kMaxDatagrams = 64;
// An answer is there when send() returns; only a kernel without memory for it lets us wait.
constexpr timeval kPatience{10, 0};
// Room for the acknowledgements of a batch, whose memory the kernel counts at a KiB each. It drops those
// that find none, so that we should wait for them in vain.
constexpr int kReceiveBuffer = 1 << 20;

// Without privileges net.core.rmem_max is the limit.
void set_buffer(int fd, int forced, int plain) {
  if (::setsockopt(fd, SOL_SOCKET, forced, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
    (void)::setsockopt(fd, SOL_SOCKET, plain, &kReceiveBuffer, sizeof kReceiveBuffer);
}

Result<> configure(int fd) {
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  const int on = 1;
  // Without it the kernel sends every refused command back. Linux 4.3.
  (void)::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0)
    return fail(errno, "set a time limit on the netlink socket");
  return {};
}

Result<int> resolve(nl_sock* socket) {
  const int family = ::genl_ctrl_resolve(socket, IPVS_GENL_NAME);
  if (family >= 0) return family;
  if (family == -NLE_OBJ_NOTFOUND)
    return fail(fmt::format("IPVS is not available: {}", why_missing(read_module_facts())));
  // libnl has numbers of its own, none of which is an errno.
  return fail(fmt::format("ask the kernel for IPVS: {}", ::nl_geterror(family)));
}

}  // namespace

void CloseNetlink::operator()(nl_sock* socket) const noexcept { ::nl_socket_free(socket); }

Socket::Socket(NlSocket socket, std::uint16_t family)
    : Channel(family), socket_(std::move(socket)), arena_(kArena) {}

Result<Socket> Socket::open() {
  NlSocket socket(::nl_socket_alloc());
  if (!socket) return fail(ENOMEM, "allocate a netlink socket");
  if (const int err = ::genl_connect(socket.get()); err < 0)
    return fail(fmt::format("open a generic netlink socket: {}", ::nl_geterror(err)));
  LB_CHECK(configure(::nl_socket_get_fd(socket.get())));
  LB_TRY(const int family, resolve(socket.get()));
  return Socket(std::move(socket), static_cast<std::uint16_t>(family));
}

Result<> Socket::send(Bytes messages) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = ::sendto(::nl_socket_get_fd(socket_.get()), messages.data(), messages.size(), 0,
                    reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail(errno, "send to IPVS");
  return {};
}

Result<> Socket::receive(Size size, const Visit& visit) {
  const std::size_t slice = size == Size::Small ? kSmall : kLarge;
  const std::size_t slices = std::min(kMaxDatagrams, arena_.size() / slice);
  std::array<mmsghdr, kMaxDatagrams> datagrams{};
  std::array<iovec, kMaxDatagrams> places{};
  std::array<sockaddr_nl, kMaxDatagrams> senders{};
  for (std::size_t i = 0; i < slices; ++i) {
    places[i] = {arena_.data() + i * slice, slice};
    datagrams[i].msg_hdr.msg_name = &senders[i];
    datagrams[i].msg_hdr.msg_namelen = sizeof senders[i];
    datagrams[i].msg_hdr.msg_iov = &places[i];
    datagrams[i].msg_hdr.msg_iovlen = 1;
  }
  int count;
  do {
    count = ::recvmmsg(::nl_socket_get_fd(socket_.get()), datagrams.data(),
                       static_cast<unsigned>(slices), MSG_WAITFORONE, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail(errno, "receive from IPVS");
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    if (senders[i].nl_pid != 0) continue;  // not the kernel's
    if ((datagrams[i].msg_hdr.msg_flags & MSG_TRUNC) != 0)
      return fail(EMSGSIZE, "receive from IPVS");
    LB_TRY(const auto messages,
           split_messages(Bytes(arena_).subspan(i * slice, datagrams[i].msg_len)));
    for (const Message& message : messages) LB_CHECK(visit(message));
  }
  return {};
}

}  // namespace lb::ipvs
