// IPVS's messages: commands and questions into bytes, the kernel's answers into records. Pure.
// Source: include/uapi/linux/ip_vs.h and ip_vs_genl_*() in net/netfilter/ipvs/ip_vs_ctl.c, Linux 6.1 to 6.12.
// Numbers are in the host's order, ports and addresses in the network's: they are turned here and nowhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ipvs/netlink.h"
#include "ipvs/records.h"

namespace lb::ipvs {

// To whom a message goes, and the number its answer bears.
struct Envelope {
  std::uint16_t family = 0;  // the number that the kernel has given to "IPVS"
  std::uint32_t sequence = 0;
};

// Each appends one message. A command is acknowledged whether it succeeds or not.
void encode_command(Buffer& out, const Envelope& envelope, const Command& command);
void encode_info_request(Buffer& out, const Envelope& envelope);
void encode_services_request(Buffer& out, const Envelope& envelope);
// Of this one alone. Its answer is ESRCH where it is not there, else the service, and then the acknowledgement.
void encode_service_request(Buffer& out, const Envelope& envelope, const ServiceId& service);
void encode_servers_request(Buffer& out, const Envelope& envelope, const ServiceId& service);

// EBADMSG where a message lacks what every kernel sends.
[[nodiscard]] Result<Info> decode_info(const Message& message);
// Nothing for a protocol that is neither TCP nor UDP (SCTP): no ServiceId can name it, and none of lbd's can collide with it.
[[nodiscard]] Result<std::optional<VirtualService>> decode_service(const Message& message);
// A server is of its service's family where the message does not say (Linux before 3.18).
[[nodiscard]] Result<ObservedServer> decode_server(const Message& message, bool service_is_v6);

// What an errno means as the answer to this command, where its own name misleads: ENOENT for a scheduler, ESRCH
// for a service. Empty where the name says enough.
[[nodiscard]] std::string explain(const Command& command, int error);

}  // namespace lb::ipvs
