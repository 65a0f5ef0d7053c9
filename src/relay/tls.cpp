#include "relay/tls.h"

#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <boost/asio/buffer.hpp>

#include "base/file.h"
#include "relay/revocation.h"

namespace lb::relay {
namespace {

using Context = asio::ssl::context;
using ErrorCode = boost::system::error_code;
constexpr std::size_t kFileLimit = std::size_t{4} << 20;

std::optional<std::chrono::system_clock::time_point> expiry_of(const X509* certificate) {
  std::tm when{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1)
    return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&when));
}

// Files are read by us, so that one that cannot be read is told from one with nonsense in it.
template <class Use>
Result<> use_file(const char* key, const std::string& path, const char* content, Use use) {
  const auto bytes = read_file(path, kFileLimit);
  if (!bytes) return fail(bytes.error().code, fmt::format("{}: {}", key, bytes.error().context));
  ErrorCode error;
  use(asio::buffer(*bytes), error);
  if (error)
    return fail(EINVAL,
                fmt::format("{} {} holds no {} in PEM ({})", key, path, content, error.message()));
  return {};
}

struct Keys {  // as the configuration names them
  const char* ca;
  const char* cert;
  const char* key;
  const char* crl;
};

Result<> show_certificate(Context& context, const TlsFiles& files, const Keys& keys) {
  LB_CHECK(use_file(keys.cert, files.cert, "certificate", [&](auto bytes, ErrorCode& error) {
    context.use_certificate_chain(bytes, error);
  }));
  // Before the key is set: OpenSSL would find fault with the pair while it reads the second.
  const auto wrong_pair = [&] {
    return fail(EINVAL, fmt::format("{} {} is not the key of {} {}", keys.key, files.key, keys.cert,
                                    files.cert));
  };
  bool mismatch = false;
  const auto used = use_file(keys.key, files.key, "private key", [&](auto bytes, ErrorCode& error) {
    context.use_private_key(bytes, Context::pem, error);
    mismatch = error.message().find("mismatch") != std::string::npos;
  });
  if (mismatch) return wrong_pair();
  LB_CHECK(used);
  if (SSL_CTX_check_private_key(context.native_handle()) != 1) return wrong_pair();
  return {};
}

Result<std::shared_ptr<Context>> make_context(const TlsFiles& files, const Keys& keys,
                                              Context::method method) {
  auto context = std::make_shared<Context>(method);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(native, TLS1_3_VERSION);
  // Thousands of connections that are mostly silent: no buffers meanwhile.
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  // A resumed session would not look at the certificate again.
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  if (files.cert.empty() != files.key.empty())
    return fail(EINVAL,
                fmt::format("{} and {} belong together: one is not set", keys.cert, keys.key));
  if (!files.cert.empty()) LB_CHECK(show_certificate(*context, files, keys));
  if (!files.ca.empty())
    LB_CHECK(use_file(keys.ca, files.ca, "certificate", [&](auto bytes, ErrorCode& error) {
      context->add_certificate_authority(bytes, error);
    }));
  if (!files.crl.empty() && files.ca.empty())
    return fail(EINVAL, fmt::format("{} {} needs {}: the authority that signs the list", keys.crl,
                                    files.crl, keys.ca));
  if (!files.crl.empty())
    LB_CHECK(use_file(
        keys.crl, files.crl, "list of revoked certificates",
        [&](auto bytes, ErrorCode& error) { use_revocation_lists(*context, bytes, error); }));
  return context;
}

}  // namespace

Result<std::shared_ptr<Context>> server_context(const TlsFiles& files) {
  const Keys keys{"tls_client_ca", "tls_cert", "tls_key", "tls_crl"};
  if (files.cert.empty()) return fail(EINVAL, "TLS needs tls_cert and tls_key");
  LB_TRY(auto context, make_context(files, keys, Context::tls_server));
  if (!files.ca.empty())
    context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  return context;
}

Result<std::shared_ptr<Context>> client_context(const TlsFiles& files) {
  LB_TRY(auto context, make_context(files, {"ca", "cert", "key", "crl"}, Context::tls_client));
  context->set_verify_mode(asio::ssl::verify_peer);
  ErrorCode
      ignored;  // without the system's authorities nothing will be trusted, and that is said then
  if (files.ca.empty()) context->set_default_verify_paths(ignored);
  return context;
}

void expect_name(SSL* ssl, const std::string& host) {
  if (IpAddress::parse(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
    return;
  }
  SSL_set1_host(ssl, host.c_str());
  SSL_set_tlsext_host_name(ssl, host.c_str());
}

std::string stamp_of(const TlsFiles& files) {
  std::string out;
  for (const std::string& path : {files.ca, files.cert, files.key, files.crl}) {
    struct stat now {};
    if (path.empty() || ::stat(path.c_str(), &now) != 0) continue;
    out += fmt::format("{}.{}.{}.{} ", now.st_ino, now.st_mtim.tv_sec, now.st_mtim.tv_nsec,
                       now.st_size);
  }
  return out;
}

std::string verify_text(long verdict) { return X509_verify_cert_error_string(verdict); }

std::optional<std::chrono::system_clock::time_point> expiry_of_peer(const SSL* ssl) {
  return expiry_of(SSL_get0_peer_certificate(ssl));
}

std::optional<std::chrono::system_clock::time_point> expiry_of_own(Context& context) {
  return expiry_of(SSL_CTX_get0_certificate(context.native_handle()));
}

}  // namespace lb::relay
