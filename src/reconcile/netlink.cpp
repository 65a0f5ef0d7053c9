#include "reconcile/netlink.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/netlink_errno.h"
#include "base/unique_fd.h"

namespace lb {
namespace {

// A dump that is disturbed this often is on a host where something else is badly wrong.
constexpr int kAttempts = 5;

Result<UniqueFd> open_socket(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail(errno, "open netlink socket");
  const timeval timeout{.tv_sec = 1, .tv_usec = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
    return fail(errno, "set netlink timeout");
  return fd;
}

Result<> send_request(int fd, std::uint16_t type, std::span<const std::byte> payload) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(payload.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header.nlmsg_seq = 1;
  std::vector<std::byte> message(NLMSG_SPACE(payload.size()));
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + NLMSG_HDRLEN, payload.data(), payload.size());
  if (::send(fd, message.data(), message.size(), 0) < 0) return fail(errno, "send netlink request");
  return {};
}

// The kernel makes datagrams as large as it likes: ask for the size before reading, so that none is
// cut off.
Result<std::size_t> receive(int fd, std::vector<std::byte>& buffer) {
  const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_TRUNC);
  if (size < 0) return fail(errno, "receive netlink reply");
  if (static_cast<std::size_t>(size) > buffer.size()) buffer.resize(static_cast<std::size_t>(size));
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_TRUNC);
  if (got < 0) return fail(errno, "receive netlink reply");
  if (static_cast<std::size_t>(got) > buffer.size()) return fail(EMSGSIZE, "netlink reply");
  return static_cast<std::size_t>(got);
}

Result<> dump_once(int protocol, std::uint16_t type, std::span<const std::byte> payload,
                   const std::function<void(const nlmsghdr&, std::span<const std::byte>)>& each) {
  LB_TRY(const UniqueFd fd, open_socket(protocol));
  LB_CHECK(send_request(fd.get(), type, payload));
  std::vector<std::byte> buffer(std::size_t{32} << 10);
  for (;;) {
    LB_TRY(const std::size_t size, receive(fd.get(), buffer));
    LB_TRY(const bool done, parse_dump(std::span(buffer).first(size), each));
    if (done) return {};
  }
}

int error_of(std::span<const std::byte> payload) {
  int error = 0;  // nlmsgerr and the payload of NLMSG_DONE both begin with it
  if (payload.size() >= sizeof error) std::memcpy(&error, payload.data(), sizeof error);
  return netlink_errno(error);
}

}  // namespace

Result<bool> parse_dump(
    std::span<const std::byte> datagram,
    const std::function<void(const nlmsghdr&, std::span<const std::byte>)>& each) {
  bool interrupted = false;
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > datagram.size())
      return fail(EBADMSG, "netlink message");
    const auto payload = datagram.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    interrupted = interrupted || (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      if (const int error = error_of(payload); error != 0) return fail(error, "netlink dump");
      if (interrupted) return fail(EAGAIN, "netlink dump");
      return true;
    }
    each(header, payload);
    datagram =
        datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  if (interrupted) return fail(EAGAIN, "netlink dump");
  return false;
}

Result<> netlink_dump(
    int protocol, std::uint16_t type, std::span<const std::byte> payload,
    const std::function<void(const nlmsghdr&, std::span<const std::byte>)>& each) {
  // A repeated dump reports some messages twice; all callers collect them into sorted sets.
  Result<> result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    result = dump_once(protocol, type, payload, each);
    // A receive timeout is EAGAIN as well: then the one repetition too many costs a second.
    if (result || result.error().code != std::errc::resource_unavailable_try_again) break;
  }
  return result;
}

}  // namespace lb
