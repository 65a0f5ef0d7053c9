// A generic netlink socket for the family "IPVS". Knows no command.
#pragma once

#include <memory>

#include "base/result.h"
#include "ipvs/channel.h"

struct nl_sock;

namespace lb::ipvs {

struct CloseNetlink {
  void operator()(nl_sock* socket) const noexcept;
};

class Socket : public Channel {
 public:
  // The family's number is asked for, which makes the kernel load ip_vs.
  [[nodiscard]] static Result<Socket> open();

  [[nodiscard]] Result<> send(Bytes messages) override;
  [[nodiscard]] Result<> receive(Size size, const Visit& visit) override;

 private:
  Socket(std::unique_ptr<nl_sock, CloseNetlink> socket, std::uint16_t family);

  std::unique_ptr<nl_sock, CloseNetlink> socket_;
  Buffer arena_;  // where datagrams arrive
};

}  // namespace lb::ipvs
