// How to reach Marathon: endpoints, TLS, and who we are. Values only.
#pragma once

#include <string>
#include <vector>

#include "http/client.h"

namespace lb::marathon {

// Secrets are in files, read anew for each use, and never logged.
struct Access {
  std::vector<std::string> endpoints;  // "http://marathon1:8080", perhaps with a path
  HttpTls tls;
  std::string username;  // basic authentication; not together with the others
  std::string password_file;
  std::string token_file;  // a DC/OS token that somebody else renews
  std::string dcos_login;  // URL of the login endpoint: tokens are fetched and renewed
  std::string dcos_uid;
  std::string dcos_key_file;  // PEM, RSA

  bool operator==(const Access&) const = default;
};

}  // namespace lb::marathon
