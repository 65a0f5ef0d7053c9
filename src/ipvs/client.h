// Talks to IPVS in this process's network namespace: generic netlink, family "IPVS" (libnl-genl-3).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ipvs/records.h"

namespace lb::ipvs {

// An open socket. Not thread-safe; calls block until the kernel has answered (microseconds per
// command). A call that returns an error of its own (not of one command) leaves unknown how many
// commands were done: read again.
class Client {
 public:
  // Asks for the family, which loads ip_vs where it can be loaded. The error says whether the module
  // is missing, blacklisted or may not be used (CAP_NET_ADMIN), and what to do.
  [[nodiscard]] static Result<Client> open();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  [[nodiscard]] Result<Info> info();
  // Everybody's, in the kernel's order. Not those of SCTP, which no ServiceId can name.
  [[nodiscard]] Result<std::vector<VirtualService>> services();
  // One for each id, in order; nullopt: it is not there.
  [[nodiscard]] Result<std::vector<std::optional<VirtualService>>> services(
      std::span<const ServiceId> ids);
  // An absent service has none: the kernel gives no error.
  [[nodiscard]] Result<std::vector<ObservedServer>> servers(const ServiceId& service);
  // servers() of many services in few system calls; one list for each, in order.
  [[nodiscard]] Result<std::vector<std::vector<ObservedServer>>> servers(
      std::span<const ServiceId> services);

  // Carries out the commands in order, many per system call; one failing does not stop the others.
  // One result for each: the kernel's errno with the command as context, and in words where the errno says
  // little (ENOENT for a scheduler that is not there).
  [[nodiscard]] Result<std::vector<Result<>>> apply(std::span<const Command> commands);

 private:
  struct Connection;
  explicit Client(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace lb::ipvs
