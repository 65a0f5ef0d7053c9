#include "relay/peer_bytes.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"

namespace lb::relay {

std::string not_our_protocol(std::string_view bytes) {
  using std::string_view_literals::operator""sv;
  static constexpr std::array kRequests{"GET "sv,    "POST "sv,    "PUT "sv,
                                        "HEAD "sv,   "PRI * "sv,   "PATCH "sv,
                                        "DELETE "sv, "OPTIONS "sv, "CONNECT "sv};
  if (bytes.empty() || bytes.front() == '{') return {};
  if (bytes.starts_with("HTTP/")) return "the other side speaks HTTP: is that port an lbd updater?";
  if (std::any_of(kRequests.begin(), kRequests.end(),
                  [&](std::string_view word) { return bytes.starts_with(word); }))
    return "the other side speaks HTTP: this port is for listeners of lbd";
  if (bytes.starts_with("\x16\x03"sv))
    return "the other side speaks TLS, and here tls_cert and tls_key are not set";
  if (bytes.starts_with("\x15\x03"sv))
    return "the other side speaks TLS, and here none of its files is set";
  // Enough of a word to know whether it is one of the above?
  const bool whole = bytes.size() >= 8 || bytes.find('\n') != std::string_view::npos;
  const bool word = (bytes.front() >= 'A' && bytes.front() <= 'Z') || bytes.front() == '\x15' ||
                    bytes.front() == '\x16';
  if (!whole && word) return {};
  return fmt::format("this is not lbd's push protocol: it begins with '{}'", printable(bytes, 30));
}

std::string relay_tls_hint(std::string_view words) {
  const auto has = [words](std::string_view part) {
    return words.find(part) != std::string_view::npos;
  };
  if (has("http request")) return "the other side speaks HTTP";
  if (has("wrong version number") || has("record layer failure") || has("packet length too long"))
    return "the other side speaks no TLS: is it plain TCP there?";
  if (has("unsupported protocol") || has("alert protocol version")) return "only TLS 1.3 is spoken";
  if (has("peer did not return a certificate") || has("alert certificate required"))
    return "a client certificate is required: the listener must set its certificate and key";
  if (has("alert certificate revoked"))
    return "the other side refuses our certificate: it is revoked";
  if (has("alert unknown ca") || has("alert bad certificate") || has("alert certificate expired") ||
      has("alert decrypt error") || has("alert unsupported certificate") ||
      has("alert certificate unknown"))
    return "the other side refuses our certificate";
  if (has("certificate verify failed")) return "our CA file must name the authority that signed it";
  return {};
}

}  // namespace lb::relay
