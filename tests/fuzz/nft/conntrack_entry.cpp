// Any bytes as an entry of the kernel's connection tracking.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "nft/flow_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto flow = lb::nft::decode_flow(bytes);
  if (!flow) {
    if (flow.error().code.value() != EBADMSG) std::abort();
  } else if (*flow) {
    if ((*flow)->protocol == lb::Protocol::Udp && (*flow)->tcp_state != 0) std::abort();
    const auto again = lb::nft::decode_flow(bytes);
    if (!again || *again != *flow) std::abort();
  }
  return 0;
}
