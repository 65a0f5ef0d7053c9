// The flags of `lbctl register`, and what is wrong with them in words. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/access.h"
#include "model/address.h"

namespace CLI {
class App;
}

namespace lb::lbctl {

struct RegisterOptions {
  etcd::Access access;
  std::string prefix;        // without trailing slashes
  std::string name;          // of the backend: its folder below the prefix
  std::string address_text;  // as it is written into etcd
  HostPort address;
  std::string state_prefix;  // lbd's state-etcd-prefix, or ""
  std::chrono::milliseconds interval{10'000};
  std::chrono::milliseconds ready_timeout{60'000};
  std::chrono::milliseconds drain_timeout{60'000};
  bool wait_ready = false;
  bool check = false;  // refresh only while something accepts at the address
  bool keep = false;
  std::vector<std::string> command;  // empty: registers for somebody else, until a signal
};

// The flags as texts; check() reads them.
class RegisterFlags {
 public:
  void add_to(CLI::App& sub);
  // `command` is what stood behind "--"; `host` is this machine's name.
  [[nodiscard]] Result<RegisterOptions> check(const std::vector<std::string>& command,
                                              std::string_view host) const;

 private:
  [[nodiscard]] Result<> check_access(etcd::Access& out) const;
  [[nodiscard]] Result<> check_backend(RegisterOptions& out, std::string_view host) const;
  [[nodiscard]] Result<> check_times(RegisterOptions& out) const;

  std::string etcd_ = "http://127.0.0.1:2379";
  std::string api_ = "auto";
  std::string ca_, cert_, key_, username_, password_file_;
  std::string prefix_, name_, address_, state_;
  std::string interval_ = "10s", ready_timeout_ = "60s", drain_timeout_ = "60s";
  std::string check_;
  bool wait_ready_ = false, no_wait_ready_ = false, keep_ = false;
};

// "host1-8023"; what a name may not have is replaced by '-'.
[[nodiscard]] std::string default_backend_name(std::string_view host, Port port);

}  // namespace lb::lbctl
