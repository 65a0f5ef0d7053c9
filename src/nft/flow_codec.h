// The kernel's connection tracking entries as values. Pure.
// Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h, Linux 6.1 to 6.18.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "model/service.h"

namespace lb::nft {

// A flow with its two directions, which differ where addresses are translated: the client connects from
// `client` to `frontend`; `backend` answers to `answered`.
struct Flow {
  Protocol protocol = Protocol::Tcp;
  Address client, frontend;
  Address backend, answered;
  std::uint32_t status = 0;    // IPS_*
  std::uint8_t tcp_state = 0;  // TCP_CONNTRACK_*; 0 where it is not told
  std::uint32_t id = 0;
  std::uint16_t zone = 0;

  bool operator==(const Flow&) const = default;

  // TCP: between the backend's answer and the end of the connection. UDP has no end but a timeout.
  [[nodiscard]] bool is_open() const;
};

// What follows the netlink header of one entry; nullopt for another protocol than TCP and UDP. Errors are EBADMSG.
[[nodiscard]] Result<std::optional<Flow>> decode_flow(std::span<const std::byte> message);

}  // namespace lb::nft
