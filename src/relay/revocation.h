// Lists of revoked certificates (CRLs), as OpenSSL looks at them: each authority between a certificate and its root needs one that is in
// force, else the certificate is refused.
#pragma once

#include <chrono>
#include <string>

#include <openssl/types.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>

namespace lb::relay {

// All lists of a PEM text, which are asked from now on. Without one it is an error.
void use_revocation_lists(boost::asio::ssl::context& context, boost::asio::const_buffer pem,
                          boost::system::error_code& error);

// A sentence for each list that has run out by `now`, or is not in force yet; "" when all are good. `named`: key and file.
[[nodiscard]] std::string trouble_of_lists(boost::asio::ssl::context& context,
                                           const std::string& named,
                                           std::chrono::system_clock::time_point now);
// The same of those that run out soon: of their time there is less than a tenth left.
[[nodiscard]] std::string lists_end_soon(boost::asio::ssl::context& context,
                                         const std::string& named,
                                         std::chrono::system_clock::time_point now);

// Whether a list of the context revokes what the other side has shown in its handshake.
[[nodiscard]] bool revokes_peer(boost::asio::ssl::context& context, SSL* ssl);

// Why a certificate does not get through, during its verification.
[[nodiscard]] std::string why_refused(X509_STORE_CTX* verification, const std::string& named);

}  // namespace lb::relay
