// Who may ask a fake Marathon: basic, a fixed token, or tokens of a DC/OS login.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "support/fake_marathon.h"
#include "support/fake_marathon_link.h"

namespace lb::test {

class FakeMarathonAuth {
 public:
  explicit FakeMarathonAuth(const FakeMarathonOptions& options) : options_(options) {}

  [[nodiscard]] bool allows(const MarathonRequest& request) const;
  [[nodiscard]] static MarathonReply refusal();
  static constexpr const char* kLoginPath = "/acs/api/v1/auth/login";
  [[nodiscard]] MarathonReply login(const MarathonRequest& request);
  void revoke() { tokens_.clear(); }

 private:
  const FakeMarathonOptions& options_;
  std::map<std::string, std::chrono::steady_clock::time_point> tokens_;  // and their ends
  int given_ = 0;
};

}  // namespace lb::test
