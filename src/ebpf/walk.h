// Walks over sockets: recounting what is active, finding steered sockets, ending them. By iterator
// programs where the kernel has them; TCP sockets else by sock_diag, which knows peers and no marks.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "bpf/lb_abi.h"
#include "ebpf/maps.h"
#include "model/service.h"

struct lbd;  // the generated skeleton

namespace lb::bpf {

class SocketWalk {
 public:
  struct Abilities {
    bool counting = true;  // the tracepoint counts: a recount has to follow what it does meanwhile
    bool tcp = true;       // iter/tcp is loaded
    bool udp = true;       // iter/udp is loaded
  };
  // `skeleton` outlives this. All network namespaces when `all_namespaces`, else the caller's.
  SocketWalk(lbd& skeleton, Abilities abilities, bool all_namespaces)
      : skeleton_(skeleton), can_(abilities), all_namespaces_(all_namespaces) {}

  // Corrects `active` of the given lines by what the sockets say, while connections come and go: exact
  // counts are kept beside the ones in force for the time of the walk, and only the difference is
  // applied. Without the tracepoint or iter/tcp the sockets are listed, and a line whose count moved
  // meanwhile is left for the next time. Returns by how much all lines together were wrong.
  [[nodiscard]] Result<std::uint64_t> recount(Maps& maps,
                                              const std::vector<std::uint32_t>& lines) const;

  // Steered TCP sockets that are not closed; without iter/tcp every TCP socket whose peer is a backend.
  [[nodiscard]] Result<std::vector<lb_socket>> steered_tcp(const Maps& maps) const;
  // Connected UDP sockets that are still where they were steered to; none without iter/udp.
  [[nodiscard]] Result<std::vector<lb_socket>> steered_udp() const;

  // Ends the steered sockets that `matches` picks and returns how many; ENOTSUP without the iterator
  // that tells which ones were steered.
  using Matches = std::function<bool(const lb_socket&)>;
  [[nodiscard]] Result<std::uint64_t> end(Protocol protocol, const Matches& matches) const;

 private:
  [[nodiscard]] Result<> in_namespaces(const std::function<Result<>()>& visit) const;
  [[nodiscard]] Result<std::uint64_t> recount_by_list(
      Maps& maps, const std::vector<std::uint32_t>& lines) const;

  lbd& skeleton_;
  Abilities can_;
  bool all_namespaces_;
};

}  // namespace lb::bpf
