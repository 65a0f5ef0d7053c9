// A server's TLS as it is now: files that have changed are read for the next connection, and what is wrong with them leaves the ones
// before in use.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ssl/context.hpp>

#include "relay/connection.h"

namespace lb::relay {

class TlsInUse {
 public:
  [[nodiscard]] static Result<std::shared_ptr<TlsInUse>> open(TlsFiles files);

  // Looks at the files, for a connection that has come.
  [[nodiscard]] std::shared_ptr<asio::ssl::context> current();
  // Whether the list of revoked certificates has this peer by now. Asked at each ping, it looks at the files once a second.
  [[nodiscard]] bool revoked(const Connection& connection);
  // Certificates and lists that run out.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  TlsInUse(TlsFiles files, std::shared_ptr<asio::ssl::context> context);
  [[nodiscard]] Result<std::shared_ptr<asio::ssl::context>> read() const;
  [[nodiscard]] std::string crl() const { return "tls_crl " + files_.crl; }

  const TlsFiles files_;
  std::shared_ptr<asio::ssl::context> context_;
  std::string stamp_;  // of the files that were read last
  std::chrono::steady_clock::time_point looked_;
};

}  // namespace lb::relay
