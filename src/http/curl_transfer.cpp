#include "http/curl_transfer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

#include "base/direct_socket.h"
#include "http/tls_hint.h"

namespace lb {
namespace {

// A peer that vanished without a word is noticed after idle + 3 probes, unsent data after the user
// timeout: about 20 s both, so that a dead etcd member does not look alive for minutes.
constexpr long kKeepaliveIdle = 10;
constexpr long kKeepaliveInterval = 3;
constexpr unsigned kUserTimeoutMs = 20'000;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto from = text.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlank) - from + 1);
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.header_done) return size;  // trailers
  const std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // also after "100 Continue": start again
    transfer.response.headers.clear();
    return size;
  }
  if (const auto colon = line.find(':'); colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool cookie = name == "set-cookie";
    std::string& value = transfer.response.headers[std::move(name)];
    value =
        (cookie && !value.empty() ? value + ", " : "") + std::string(trim(line.substr(colon + 1)));
    return size;
  }
  long status = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (!trim(line).empty() || status < 200) return size;
  transfer.response.status = static_cast<int>(status);
  transfer.header_done = true;
  if (transfer.stream) transfer.changed.notify();
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.response.body.size() + size > transfer.request.max_body) {
    transfer.overflow = true;
    return 0;  // ends the transfer with CURLE_WRITE_ERROR
  }
  transfer.response.body.append(data, size);
  if (transfer.stream) transfer.changed.notify();
  return size;
}

int on_new_socket(void* self, curl_socket_t fd, curlsocktype) noexcept {
  // Best effort: without it keepalive alone finds the dead peer.
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
  if (static_cast<const Transfer*>(self)->request.direct)
    make_direct(fd);
  else
    make_direct_if_asked(fd);
  return CURL_SOCKOPT_OK;
}

void set_body(Transfer& t) {
  CURL* easy = t.easy.get();
  const bool has_body = !t.request.body.empty() || t.request.method == "POST";
  if (t.request.method == "HEAD") curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  if (has_body) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(t.request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t.request.body.c_str());  // not copied
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t.request.method.c_str());
}

void set_security(Transfer& t) {
  CURL* easy = t.easy.get();
  const auto set = [easy](CURLoption option, const std::string& value) {
    if (!value.empty()) curl_easy_setopt(easy, option, value.c_str());
  };
  set(CURLOPT_CAINFO, t.request.tls.ca);
  // curl would go on with what it read for a day: a file that was put right must count at once.
  if (!t.request.tls.ca.empty()) curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  set(CURLOPT_SSLCERT, t.request.tls.cert);
  set(CURLOPT_SSLKEY, t.request.tls.key);
  if (t.request.username.empty()) return;
  curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
  set(CURLOPT_USERNAME, t.request.username);
  set(CURLOPT_PASSWORD, t.request.password);
}

void set_limits(Transfer& t) {
  CURL* easy = t.easy.get();
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // do not wait for the resolver's thread
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(t.request.connect_timeout.count()));
  if (!t.stream)
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(t.request.timeout.count()));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, kKeepaliveIdle);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, kKeepaliveInterval);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &on_new_socket);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, &t);
  if (!t.request.direct) return;
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

int errno_of(const Transfer& t) {
  switch (t.result) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT: {
      long err = 0;
      curl_easy_getinfo(t.easy.get(), CURLINFO_OS_ERRNO, &err);
      return err > 0 ? static_cast<int>(err) : ECONNREFUSED;
    }
    case CURLE_OPERATION_TIMEDOUT:
      return ETIMEDOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      return ECONNRESET;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return EINVAL;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_WEIRD_SERVER_REPLY:
      return EPROTO;
    default:
      return EIO;
  }
}

}  // namespace

tl::unexpected<Error> Transfer::failure() const {
  const std::string what = fmt::format("{} {}", request.method, request.url);
  if (cancelled) return fail(ECANCELED, what);
  if (overflow)
    return fail(EMSGSIZE, fmt::format("{}: more than {} bytes", what, request.max_body));
  const char* text = error_text[0] != '\0' ? error_text.data() : curl_easy_strerror(result);
  // With TLS 1.3 a refused client certificate shows at the first read: a reset, says curl.
  if (const std::string hint = tls_hint(text, request.tls); !hint.empty())
    return fail(EPROTO, fmt::format("{}: {}; {}", what, text, hint));
  const int code = errno_of(*this);
  long connects = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_NUM_CONNECTS, &connects);
  if (code == ECONNRESET && connects > 0 && !header_done)
    return fail(code,
                fmt::format("{}: {}; {}", what, text, hang_up_hint(request.url, request.tls)));
  return fail(code, fmt::format("{}: {}", what, text));
}

Result<> prepare_transfer(Transfer& t) {
  t.easy.reset(curl_easy_init());
  if (!t.easy) return fail(ENOMEM, "curl_easy_init");
  CURL* easy = t.easy.get();
  for (const auto& line : t.request.headers) {
    curl_slist* longer = curl_slist_append(t.headers.get(), line.c_str());
    if (longer == nullptr) return fail(ENOMEM, "curl_slist_append");
    (void)t.headers.release();  // `longer` starts with it
    t.headers.reset(longer);
  }
  if (curl_easy_setopt(easy, CURLOPT_URL, t.request.url.c_str()) != CURLE_OK)
    return fail(EINVAL, fmt::format("URL {}", t.request.url));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t.error_text.data());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t.headers.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &t);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &t);
  if (t.request.gzip) curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
  set_limits(t);
  set_security(t);
  set_body(t);
  if (t.found_at.empty()) return {};
  t.hosts.reset(curl_slist_append(nullptr, t.found_at.c_str()));
  if (!t.hosts) return fail(ENOMEM, "curl_slist_append");
  curl_easy_setopt(easy, CURLOPT_RESOLVE, t.hosts.get());
  return {};
}

}  // namespace lb
