#include "http/tls_hint.h"

#include <fmt/format.h>

namespace lb {

std::string tls_hint(std::string_view words, const HttpTls& tls) {
  const auto has = [words](std::string_view part) {
    return words.find(part) != std::string_view::npos;
  };
  if (has("issuer certificate") || has("self-signed certificate") || has("self signed certificate"))
    return fmt::format(
        "`ca` must name a PEM file with the certificate of the authority that signed the server's "
        "(now {})",
        tls.ca.empty() ? "the system's authorities" : tls.ca);
  if (has("certificate has expired") || has("certificate is not yet valid"))
    return "the server's certificate, or the clock of this host, is wrong";
  if (has("subject name matches"))
    return "the server's certificate must have the endpoint's name or address as subjectAltName";
  if (has("alert certificate required") || has("alert bad certificate") ||
      has("alert handshake failure") || has("alert unknown ca") || has("alert certificate expired"))
    return fmt::format(
        "the server wants a client certificate of an authority that it trusts: set `cert` and "
        "`key` (now {})",
        tls.cert.empty() ? "none" : tls.cert);
  if (has("wrong version number") || has("SSL_connect: SSL_ERROR_SYSCALL"))
    return "the server speaks no TLS there: an http:// URL?";
  if (has("set private key file") || has("key values mismatch"))
    return fmt::format("`key` {} must be the key of `cert` {}", tls.key, tls.cert);
  return {};
}

std::string hang_up_hint(std::string_view url, const HttpTls& tls) {
  if (url.starts_with("http://"))
    return "if the server speaks TLS, the URL must begin with https://";
  return fmt::format(
      "so does a server that does not accept the client certificate: `cert` and `key` (now {})",
      tls.cert.empty() ? "none" : tls.cert);
}

}  // namespace lb
