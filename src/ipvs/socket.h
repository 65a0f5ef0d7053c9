// A generic netlink socket with the number of the family "IPVS": bytes out, bytes in. Knows no command.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "ipvs/netlink.h"

struct nl_sock;

namespace lb::ipvs {

struct CloseNetlink {
  void operator()(nl_sock* socket) const noexcept;
};

class Socket {
 public:
  // The family's number is asked for, which makes the kernel load ip_vs.
  [[nodiscard]] static Result<Socket> open();

  [[nodiscard]] std::uint16_t family() const { return family_; }
  // Numbers of messages, each used once: by them answers are told apart.
  [[nodiscard]] std::uint32_t next_sequence() { return ++sequence_; }

  [[nodiscard]] Result<> send(Bytes messages);
  // Up to 64 datagrams in one system call, and what is in them, in order. Each fits into `size` bytes: small ones (answers
  // to commands) or large ones (dumps, of which the kernel fills up to 32 KiB). Waits for the first.
  enum class Size : std::uint8_t { Small, Large };
  using Visit = std::function<Result<>(const Message&)>;
  [[nodiscard]] Result<> receive(Size size, const Visit& visit);

 private:
  explicit Socket(std::unique_ptr<nl_sock, CloseNetlink> socket, std::uint16_t family);

  std::unique_ptr<nl_sock, CloseNetlink> socket_;
  std::uint16_t family_;
  std::uint32_t sequence_ = 0;
  Buffer arena_;  // where datagrams arrive
};

}  // namespace lb::ipvs
