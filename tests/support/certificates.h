// A certificate authority of the test's own, made by openssl when the test runs.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace lb::test {

class Certificates {
 public:
  // Makes the folder and the authority; throws.
  explicit Certificates(std::string folder, const std::string& authority = "lbd test CA");

  // Signs NAME.crt with NAME.key. `san` as openssl writes it: "IP:10.77.0.1,DNS:etcd"; empty: it has none. Without `cn`
  // the subject is empty, which is what etcd's gateway wants of clients.
  void sign(const std::string& name, const std::string& san, const std::string& cn = {}) const;

  void revoke(const std::string& name) const;
  // Writes the list of what is revoked so far; it is in force since an hour, for so long. Its path.
  [[nodiscard]] std::string list(const std::string& name,
                                 std::chrono::seconds left = std::chrono::hours(24)) const;

  [[nodiscard]] std::string ca() const { return folder_ + "/ca.crt"; }
  [[nodiscard]] std::string cert(const std::string& name) const { return path(name, "crt"); }
  [[nodiscard]] std::string key(const std::string& name) const { return path(name, "key"); }

 private:
  void run_authority(const std::vector<std::string>& arguments) const;
  [[nodiscard]] std::string path(const std::string& name, const char* end) const {
    return folder_ + "/" + name + "." + end;
  }
  std::string folder_;
};

}  // namespace lb::test
