#include "vm/ipvs_dataplane/network.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "support/process.h"

namespace lb::test {
namespace {

// Many commands of one `ip`, as each start costs time on an emulated machine.
Command ip_batch(const std::string& lines) {
  return {"sh", "-c", fmt::format("ip -batch - <<'TXT'\n{}TXT\n", lines)};
}

std::string port_of(const NetNamespace& wire, const char* name, const NetNamespace& of) {
  return fmt::format("link add {0} netns {1} type veth peer name eth0 netns {2}\n", name,
                     wire.path(), of.path());
}

std::string addresses(const char* interface, const char* v4, const char* v6) {
  return fmt::format(
      "link set {0} up\naddress add {1}/24 dev {0}\naddress add {2}/64 dev {0} nodad\n", interface,
      v4, v6);
}

}  // namespace

Network::Network() {
  run_or_throw(
      ip_batch(fmt::format("link add host netns {} type veth peer name eth0\n", wire.path()) +
               port_of(wire, "near", near) + port_of(wire, "client", client) +
               port_of(wire, "router", router) +
               // Before we have an eth1 ourselves: the kernel looks for the name here, too.
               fmt::format("link add eth1 netns {} type veth peer name eth0 netns {}\n",
                           router.path(), far.path()) +
               fmt::format("link add eth1 type veth peer name eth0 netns {}\n", second.path()) +
               addresses("eth0", "10.9.0.1", "fd09::1") + addresses("eth1", "10.8.0.1", "fd08::1") +
               "route add 10.7.0.0/24 via 10.9.0.254\nroute add fd07::/64 via fd09::254\n"));
  std::string ports = "link add bridge type bridge mcast_snooping 0\nlink set bridge up\n";
  for (const char* port : {"host", "near", "client", "router"})
    ports += fmt::format("link set {} master bridge up\n", port);
  wire.run(ip_batch(ports));
  near.run(ip_batch(addresses("eth0", "10.9.0.11", "fd09::11")));
  client.run(ip_batch(addresses("eth0", "10.9.0.100", "fd09::100")));
  second.run(ip_batch(addresses("eth0", "10.8.0.12", "fd08::12") +
                      "route add default via 10.8.0.1\nroute add default via fd08::1\n"));
  router.run(ip_batch(addresses("eth0", "10.9.0.254", "fd09::254") +
                      addresses("eth1", "10.7.0.254", "fd07::254") + "link set eth1 mtu 1300\n"));
  far.run(ip_batch(addresses("eth0", "10.7.0.13", "fd07::13") +
                   "route add default via 10.7.0.254\nroute add default via fd07::254\n"));
  inside(router, [] {
    set_sysctl("net/ipv4/ip_forward", "1");
    set_sysctl("net/ipv6/conf/all/forwarding", "1");
  });
}

void inside(const NetNamespace& net, const std::function<void()>& job) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      const UniqueFd fd(::open(net.path().c_str(), O_RDONLY | O_CLOEXEC));
      if (::setns(fd.get(), CLONE_NEWNET) != 0)
        throw std::system_error(errno, std::generic_category(), "setns");
      job();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

// /proc/sys/net is that of the thread that opens it.
std::string sysctl(const std::string& name) {
  std::string text = read_text("/proc/sys/" + name);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void set_sysctl(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/" + name);
  file << value << std::flush;
  if (!file) throw std::runtime_error("cannot set " + name);
}

void add_rules(const std::string& nft) {
  run_or_throw({"sh", "-c", fmt::format("nft -f - <<'TXT'\n{}\nTXT\n", nft)});
}

}  // namespace lb::test
