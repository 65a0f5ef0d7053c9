// A real nginx on several ports: /port answers with the port's number, and files below www/ are served,
// those below www/slow/ at 256 KiB/s.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "support/process.h"

namespace lb::test {

class Nginx {
 public:
  // `folder` is made. Returns when all ports listen. `address` is where.
  Nginx(std::string folder, const std::vector<int>& ports,
        const std::string& address = "127.0.0.1");

  void stop() { process_->kill(); }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  [[nodiscard]] int requests(int port) const;  // finished ones
  // Writes www/slow/NAME with that many bytes of noise; returns its content.
  [[nodiscard]] std::string add_slow_file(const std::string& name, std::size_t bytes) const;

 private:
  std::string folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace lb::test
