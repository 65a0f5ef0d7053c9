#include "nft/nfnetlink.h"

#include <linux/netfilter/nfnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/netlink_errno.h"

namespace lb::nft {
namespace {

struct Answer {
  const Nfnetlink::Each& each;
  bool done = false;
  int error = 0;  // errno
};

int take_message(nl_msg* message, void* out) {
  const nlmsghdr* header = nlmsg_hdr(message);
  static_cast<Answer*>(out)->each(std::as_bytes(
      std::span(static_cast<const char*>(nlmsg_data(header)), std::size_t(nlmsg_datalen(header)))));
  return NL_OK;
}

int take_end(nl_msg*, void* out) {
  static_cast<Answer*>(out)->done = true;
  return NL_STOP;
}

int take_error(sockaddr_nl*, nlmsgerr* error, void* out) {
  static_cast<Answer*>(out)->error = netlink_errno(error->error);
  static_cast<Answer*>(out)->done = true;
  return NL_STOP;
}

}  // namespace

void MessageFree::operator()(nl_msg* message) const { nlmsg_free(message); }
void Nfnetlink::SocketFree::operator()(nl_sock* socket) const { nl_socket_free(socket); }

Result<Message> nfnetlink_message(int type, int flags) {
  const int kind = flags == 0 ? NLM_F_REQUEST | NLM_F_ACK : NLM_F_REQUEST | flags;
  Message message(nlmsg_alloc_simple(type, kind));
  nfgenmsg header{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = 0};
  if (!message || nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0)
    return fail(ENOMEM, "make a netlink message");
  return message;
}

Result<Nfnetlink> Nfnetlink::open() {
  Socket socket(nl_socket_alloc());
  if (!socket) return fail(ENOMEM, "open a netlink socket");
  errno = 0;
  if (nl_connect(socket.get(), NETLINK_NETFILTER) < 0)
    return fail(errno != 0 ? errno : EPROTONOSUPPORT, "open a netlink socket for netfilter");
  const timeval timeout{.tv_sec = 10, .tv_usec = 0};
  if (::setsockopt(nl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &timeout,
                   sizeof timeout) < 0)
    return fail(errno, "set a netlink socket's timeout");
  nl_socket_disable_auto_ack(socket.get());
  nl_socket_enable_msg_peek(socket.get());  // the kernel makes datagrams as large as it likes
  return Nfnetlink(std::move(socket));
}

Result<> Nfnetlink::request(const Message& message, const Each& each) {
  Answer answer{each};
  nl_sock* socket = socket_.get();
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, take_message, &answer);
  nl_socket_modify_cb(socket, NL_CB_FINISH, NL_CB_CUSTOM, take_end, &answer);
  nl_socket_modify_cb(socket, NL_CB_ACK, NL_CB_CUSTOM, take_end, &answer);
  nl_socket_modify_err_cb(socket, NL_CB_CUSTOM, take_error, &answer);
  errno = 0;
  if (nl_send_auto(socket, message.get()) < 0)
    return fail(errno != 0 ? errno : EIO, "send to netfilter");
  while (!answer.done) {
    errno = 0;
    const int received = nl_recvmsgs_default(socket);
    if (received < 0 && !answer.done)
      return fail(errno != 0 ? errno : EIO,
                  fmt::format("receive from netfilter ({})", nl_geterror(received)));
  }
  if (answer.error != 0) return fail(answer.error, "ask netfilter");
  return {};
}

}  // namespace lb::nft
