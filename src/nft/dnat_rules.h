// The rules that send clients from other hosts to backends, as text for libnftables. Pure.
//
// A service's frontends are elements of a verdict map, so that finding one costs the same however many there are; each service has a
// chain that chooses, for the first packet of a flow. The kernel remembers the choice (conntrack): a changed chain changes no flow.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/programmed.h"

namespace lb::nft {

using DnatServices = std::map<ServiceKey, ProgrammedService>;

// Is it reachable from outside at all? By its key: not on a loopback address.
[[nodiscard]] bool is_published(const ServiceKey& key);

// Why outside clients cannot be sent to this backend through a service with these addresses; "" where they can.
[[nodiscard]] std::string refusal(const std::vector<IpAddress>& addresses, const Address& backend);

// Keeps account of what is shared between services, so that a change of one is as small as it can be.
class DnatTable {
 public:
  // `knows_sockets`: the kernel has nft's socket expression, so that a packet of a connection that a process of this host has can be
  // told from one whose translation was ended. Without it both go to the host, which resets the second unless a firewall drops it.
  explicit DnatTable(std::string name, bool knows_sockets = true)
      : name_(std::move(name)), knows_sockets_(knows_sockets) {}

  // One transaction that makes the tables `ip NAME` and `ip6 NAME` exactly this, whatever they were;
  // without services there are none. `guard_forwarding`: drop the forwarding of what was not translated.
  [[nodiscard]] std::string replace(const DnatServices& services, bool guard_forwarding);

  // One that takes these services from `before` to `after`; all others stay as they are. Empty when
  // the rules are the same. What it gave must be applied, or replace() must come next.
  [[nodiscard]] std::string change(const DnatServices& before, const DnatServices& after);

 private:
  // How many services need an element of a set that all share. By "FAMILY NAME SET" and element.
  using Uses = std::map<std::pair<std::string, std::string>, std::size_t>;
  using Shared = std::vector<std::pair<std::string, std::string>>;  // set and element

  void account(const std::string& table, const Shared& from, const Shared& to, Uses& were);

  std::string name_;
  bool knows_sockets_;
  Uses uses_;
};

}  // namespace lb::nft
