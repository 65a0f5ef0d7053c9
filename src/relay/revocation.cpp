#include "relay/revocation.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <boost/asio/ssl/error.hpp>

#include "base/time.h"
#include "relay/certificate.h"
#include "relay/openssl_owned.h"

namespace lb::relay {
namespace {

using Context = boost::asio::ssl::context;
using ErrorCode = boost::system::error_code;
using TimePoint = std::chrono::system_clock::time_point;

X509_STORE* store_of(Context& context) { return SSL_CTX_get_cert_store(context.native_handle()); }

std::vector<X509_CRL*> lists_of(Context& context) {
  std::vector<X509_CRL*> out;
  STACK_OF(X509_OBJECT)* all = X509_STORE_get0_objects(store_of(context));
  for (int i = 0; i < sk_X509_OBJECT_num(all); ++i)
    if (X509_CRL* list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i)))
      out.push_back(list);
  return out;
}

std::optional<TimePoint> time_of(const ASN1_TIME* time) {
  std::tm when{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &when) != 1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&when));
}

std::string text_of_time(const std::optional<TimePoint>& time) {
  if (!time) return "an unknown time";
  return format_iso8601(std::chrono::time_point_cast<std::chrono::milliseconds>(*time));
}

std::string ran_out(const X509_CRL* list, const std::string& named) {
  return fmt::format(
      "{}: the list of {} ran out at {}: renew it, until then all certificates of that authority "
      "are refused",
      named, name_text(X509_CRL_get_issuer(list)),
      text_of_time(time_of(X509_CRL_get0_nextUpdate(list))));
}

std::string too_early(const X509_CRL* list, const std::string& named) {
  return fmt::format(
      "{}: the list of {} begins at {}: is the clock right? All certificates of that authority "
      "are refused",
      named, name_text(X509_CRL_get_issuer(list)),
      text_of_time(time_of(X509_CRL_get0_lastUpdate(list))));
}

void add_sentence(std::string& text, const std::string& sentence) {
  text += (text.empty() ? "" : "; ") + sentence;
}

std::string serial_of(const X509* certificate) {
  const Owned<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* hex = number ? BN_bn2hex(number.get()) : nullptr;
  const std::string out = hex == nullptr ? "?" : hex;
  OPENSSL_free(hex);
  return out;
}

bool is_listed(const std::vector<X509_CRL*>& lists, X509* certificate) {
  return std::any_of(lists.begin(), lists.end(), [certificate](X509_CRL* list) {
    X509_REVOKED* entry = nullptr;
    return X509_CRL_get0_by_cert(list, &entry, certificate) == 1;
  });
}

// Goes on after everything: only one verdict is asked for.
int note_revoked(int, X509_STORE_CTX* verification) {
  if (X509_STORE_CTX_get_error(verification) == X509_V_ERR_CERT_REVOKED)
    *static_cast<bool*>(X509_STORE_CTX_get_app_data(verification)) = true;
  return 1;
}

}  // namespace

void use_revocation_lists(Context& context, boost::asio::const_buffer pem, ErrorCode& error) {
  X509_STORE* store = store_of(context);
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  ERR_clear_error();
  bool any = false, kept = true;
  while (kept) {
    const Owned<X509_CRL> list(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
    if (!list) break;
    any = true;
    kept = X509_STORE_add_crl(store, list.get()) == 1;
  }
  const auto last = ERR_peek_last_error();
  ERR_clear_error();
  const bool at_end =
      ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (!any || !kept || !at_end) {
    error = ErrorCode(static_cast<int>(last), boost::asio::error::get_ssl_category());
    return;
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

std::string trouble_of_lists(Context& context, const std::string& named, TimePoint now) {
  std::string out;
  for (const X509_CRL* list : lists_of(context)) {
    const auto from = time_of(X509_CRL_get0_lastUpdate(list));
    const auto until = time_of(X509_CRL_get0_nextUpdate(list));
    if (until && *until <= now)
      add_sentence(out, ran_out(list, named));
    else if (from && *from > now)
      add_sentence(out, too_early(list, named));
  }
  return out;
}

std::string lists_end_soon(Context& context, const std::string& named, TimePoint now) {
  std::string out;
  for (const X509_CRL* list : lists_of(context)) {
    const auto from = time_of(X509_CRL_get0_lastUpdate(list));
    const auto until = time_of(X509_CRL_get0_nextUpdate(list));
    if (!from || !until || *until <= now || *until - now >= (*until - *from) / 10) continue;
    add_sentence(out, fmt::format("{}: the list of {} runs out at {}", named,
                                  name_text(X509_CRL_get_issuer(list)), text_of_time(until)));
  }
  return out;
}

bool revokes_peer(Context& context, SSL* ssl) {
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  if (chain == nullptr || sk_X509_num(chain) == 0) return false;
  const auto lists = lists_of(context);
  bool listed = false;
  for (int i = 0; i < sk_X509_num(chain); ++i)
    listed = listed || is_listed(lists, sk_X509_value(chain, i));
  if (!listed) return false;
  // A newer list beside that one may have taken it back: the handshake's own rules decide.
  bool revoked = false;
  const Owned<X509_STORE_CTX> verification(X509_STORE_CTX_new());
  if (!verification || X509_STORE_CTX_init(verification.get(), store_of(context),
                                           sk_X509_value(chain, 0), chain) != 1)
    return true;
  X509_STORE_CTX_set_app_data(verification.get(), &revoked);
  X509_STORE_CTX_set_verify_cb(verification.get(), note_revoked);
  (void)X509_verify_cert(verification.get());
  ERR_clear_error();
  return revoked;
}

std::string why_refused(X509_STORE_CTX* verification, const std::string& named) {
  const int error = X509_STORE_CTX_get_error(verification);
  const X509* certificate = X509_STORE_CTX_get_current_cert(verification);
  const X509_CRL* list = X509_STORE_CTX_get0_current_crl(verification);
  if (error == X509_V_ERR_CERT_REVOKED && certificate != nullptr)
    return fmt::format("certificate {} of {} is revoked by {}", serial_of(certificate),
                       title_of(certificate), named);
  if (error == X509_V_ERR_CRL_HAS_EXPIRED && list != nullptr) return ran_out(list, named);
  if (error == X509_V_ERR_CRL_NOT_YET_VALID && list != nullptr) return too_early(list, named);
  if (error == X509_V_ERR_UNABLE_TO_GET_CRL && certificate != nullptr)
    return fmt::format("{} has no list of {}: put one of each authority into it, the root's too",
                       named, name_text(X509_get_issuer_name(certificate)));
  const std::string text = X509_verify_cert_error_string(error);
  return list != nullptr ? fmt::format("{}: {}", named, text) : text;
}

}  // namespace lb::relay
