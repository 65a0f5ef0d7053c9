// The machines around a host under test, each a network namespace. The sandbox is the host that lbd runs on:
//
//   host -- eth0 10.9.0.1/24 -- wire -- near   10.9.0.11     a backend on the same wire as the client, which it
//     |                          |                            could answer directly: the hard case for NAT
//     |                          +------ client 10.9.0.100
//     |                          +------ router 10.9.0.254 -- 1300 bytes at most -- far 10.7.0.13
//     +----- eth1 10.8.0.1/24 -- second 10.8.0.12             reached from another address of the host's
//
// The same in IPv6: fd09::1, fd09::11, fd09::100, fd09::254, fd07::13, fd08::1, fd08::12.
#pragma once

#include <functional>
#include <string>

#include "support/net_namespace.h"

namespace lb::test {

struct Network {
  Network();

  NetNamespace wire, near, client, router, far, second;
};

// Runs `job` in that namespace and passes on what it throws. Sockets made there stay there, threads as well.
void inside(const NetNamespace& net, const std::function<void()>& job);

// A setting of this thread's namespace, as a path below /proc/sys: "net/ipv4/ip_forward". "" where there is none.
std::string sysctl(const std::string& name);
void set_sysctl(const std::string& name, const std::string& value);
void add_rules(const std::string& nft);  // in this process's namespace; throws with what nft says

}  // namespace lb::test
