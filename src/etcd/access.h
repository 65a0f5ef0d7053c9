// How to reach a cluster: its members, TLS and who we are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/client.h"

namespace lb::etcd {

enum class Mode : std::uint8_t { Auto, V3, V2 };  // which API: cluster.h

struct Access {
  std::vector<std::string> endpoints{"http://127.0.0.1:2379"};  // without trailing slashes
  Mode mode = Mode::Auto;
  HttpTls tls;
  std::string username;  // empty: no authentication
  // Read anew for each authentication, so that a password can be changed.
  std::string password_file;

  bool operator==(const Access&) const = default;
};

[[nodiscard]] Result<Mode> parse_mode(std::string_view text);  // "auto", "v3", "v2"
// Without the newline at the end. The error names the file.
[[nodiscard]] Result<std::string> read_password(const Access& access);

}  // namespace lb::etcd
