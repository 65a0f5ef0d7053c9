// Requests to the kernel's packet filter (NETLINK_NETFILTER) and their answers, over libnl-3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"

struct nl_sock;
struct nl_msg;

namespace lb::nft {

// The request being built; libnl's nla_put() and its like add attributes.
struct MessageFree {
  void operator()(nl_msg* message) const;
};
using Message = std::unique_ptr<nl_msg, MessageFree>;

// `type`: subsystem and message (NFNL_SUBSYS_... << 8 | ...). `flags`: NLM_F_DUMP, or 0 for an acknowledgement.
[[nodiscard]] Result<Message> nfnetlink_message(int type, int flags);

// An open socket in the network namespace of the thread that opened it. Not thread-safe.
class Nfnetlink {
 public:
  [[nodiscard]] static Result<Nfnetlink> open();

  // Each message of the answer, its nfgenmsg first. The kernel's errno is the error's.
  using Each = std::function<void(std::span<const std::byte>)>;
  [[nodiscard]] Result<> request(const Message& message, const Each& each);

 private:
  struct SocketFree {
    void operator()(nl_sock* socket) const;
  };
  using Socket = std::unique_ptr<nl_sock, SocketFree>;
  explicit Nfnetlink(Socket socket) : socket_(std::move(socket)) {}
  Socket socket_;
};

}  // namespace lb::nft
