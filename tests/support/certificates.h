// A certificate authority of the test's own, made by openssl when the test runs.
#pragma once

#include <string>

namespace lb::test {

class Certificates {
 public:
  explicit Certificates(std::string folder);  // makes the folder and the authority; throws

  // Signs NAME.crt with NAME.key. `san` as openssl writes it: "IP:10.77.0.1,DNS:etcd". Without `cn`
  // the subject is empty, which is what etcd's gateway wants of clients.
  void sign(const std::string& name, const std::string& san, const std::string& cn = {}) const;

  [[nodiscard]] std::string ca() const { return folder_ + "/ca.crt"; }
  [[nodiscard]] std::string cert(const std::string& name) const { return path(name, "crt"); }
  [[nodiscard]] std::string key(const std::string& name) const { return path(name, "key"); }

 private:
  [[nodiscard]] std::string path(const std::string& name, const char* end) const {
    return folder_ + "/" + name + "." + end;
  }
  std::string folder_;
};

}  // namespace lb::test
