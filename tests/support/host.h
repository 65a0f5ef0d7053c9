// A machine of its own in a test: network namespace with an address on the sandbox's bridge, a cgroup and
// a bpffs folder, and an lbd there. The sandbox itself is the network between the machines; servers
// in it can be reached at the addresses of Wire::add_address().
#pragma once

#include <memory>
#include <string>

#include "support/daemon.h"
#include "support/net_namespace.h"
#include "support/process.h"
#include "support/sandbox.h"

namespace lb::test {

// The bridge, 10.79.0.0/16; the sandbox is 10.79.255.254.
class Wire {
 public:
  Wire();
  static void add_address(const std::string& ip);  // one more of the sandbox's own
};

class Host {
 public:
  // `name`: a few letters and digits, also that of the interface.
  Host(const Sandbox& sandbox, std::string name, std::string ip);
  ~Host();  // ends what runs in it, and takes lbd out of the kernel
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Runs there, in its cgroup, so that its lbd balances it.
  [[nodiscard]] Command wrap(Command command) const;
  [[nodiscard]] std::string file(std::string_view name) const {
    return folder_ + "/" + std::string(name);
  }
  // Cut off from the network, or back.
  void unplug() const;
  void plug() const;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& ip() const { return ip_; }
  [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
  [[nodiscard]] Daemon& lbd() { return *lbd_; }

 private:
  std::string name_, ip_, folder_, cgroup_, bpffs_;
  NetNamespace net_;
  std::unique_ptr<Daemon> lbd_;
};

// Connects again and again from a host to one address and holds some connections all the time.
class SteadyClient {
 public:
  struct Tally {
    int made = 0;
    int failed = 0;  // connects that did not get a greeting
    int broken = 0;  // held connections that ended
    std::string first_failure;
  };

  SteadyClient(const Host& host, std::string to, int held);
  [[nodiscard]] Tally tally() const;  // so far
  Tally stop();

 private:
  std::string path_;
  Process process_;
};

}  // namespace lb::test
