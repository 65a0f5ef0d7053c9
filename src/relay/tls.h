// OpenSSL's side of connections: TLS 1.3 and nothing older. Each context reads the files.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "base/result.h"
#include "relay/connection.h"

namespace lb::relay {

// Like server_context(), for dialling.
[[nodiscard]] Result<std::shared_ptr<asio::ssl::context>> client_context(const TlsFiles& files);

// Whose certificate a client wants to see.
void expect_name(SSL* ssl, const std::string& host);
[[nodiscard]] std::string verify_text(long verdict);  // of SSL_get_verify_result()
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> expiry_of_peer(const SSL* ssl);
// Of the certificate that a context shows.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> expiry_of_own(
    asio::ssl::context& context);

// Changes whenever one of the files does.
[[nodiscard]] std::string stamp_of(const TlsFiles& files);

}  // namespace lb::relay
