#include "marathon/login.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/text.h"

namespace lb::marathon {
namespace {

using Json = nlohmann::json;
using std::chrono::duration_cast;
using std::chrono::seconds;

// DC/OS refuses what ends later than 5 minutes from now; a clock may be slow or fast.
constexpr seconds kProofLife{55};
// How long we ask the token to live.
constexpr seconds kTokenLife{3600};
constexpr std::string_view kCookie = "dcos-acs-auth-cookie=";

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

std::string base64url(std::string_view bytes) {
  std::string out = base64_encode(bytes);
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  while (out.ends_with('=')) out.pop_back();
  return out;
}

// No passphrase is ever asked for on a terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

Result<std::string> sign(std::string_view text, std::string_view pem) {
  const std::unique_ptr<BIO, Free> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(std::min<std::size_t>(pem.size(), 1 << 20))));
  if (!bio) return fail(ENOMEM, "BIO_new_mem_buf");
  const std::unique_ptr<EVP_PKEY, Free> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
  if (!key || EVP_PKEY_base_id(key.get()) != EVP_PKEY_RSA)
    return fail(EINVAL, "holds no RSA private key in PEM without a passphrase");
  const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  const bool ready =
      context &&
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
      EVP_DigestSign(context.get(), nullptr, &size, data, text.size()) == 1;
  std::vector<unsigned char> out(size);
  if (!ready || EVP_DigestSign(context.get(), out.data(), &size, data, text.size()) != 1)
    return fail(EINVAL, "cannot sign with this key");
  return std::string(reinterpret_cast<const char*>(out.data()), size);
}

}  // namespace

Result<std::string> login_request(const std::string& uid, std::string_view key, WallTime now) {
  const auto at = duration_cast<seconds>(now.time_since_epoch());
  const Json head{{"alg", "RS256"}, {"typ", "JWT"}};
  const Json claims{{"uid", uid}, {"exp", (at + kProofLife).count()}};
  const auto replace = Json::error_handler_t::replace;
  const std::string signed_part =
      base64url(head.dump()) + "." + base64url(claims.dump(-1, ' ', false, replace));
  LB_TRY(const std::string signature, sign(signed_part, key));
  const Json body{{"uid", uid},
                  {"token", signed_part + "." + base64url(signature)},
                  {"exp", (at + kTokenLife).count()}};
  return body.dump(-1, ' ', false, replace);
}

bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<std::string> parse_login(std::string_view body,
                                const std::map<std::string, std::string>& headers) {
  std::string token;
  const Json json = parse_json(body).value_or(Json());
  if (json.is_object())
    if (const auto it = json.find("token"); it != json.end() && it->is_string())
      token = it->get<std::string>();
  if (const auto it = headers.find("set-cookie"); token.empty() && it != headers.end())
    if (const auto at = it->second.find(kCookie); at != std::string::npos) {
      const auto begin = at + kCookie.size();
      token = it->second.substr(begin, it->second.find(';', begin) - begin);
    }
  // Not the body: it may hold a secret of another shape.
  if (token.empty())
    return fail(EBADMSG, "the answer has neither a JSON member 'token' nor the DC/OS cookie");
  if (!is_token(token)) return fail(EBADMSG, "the token in the answer is not one");
  return token;
}

std::optional<WallTime> end_of_token(std::string_view token) {
  const auto first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = token.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  std::string part(token.substr(first + 1, second - first - 1));
  std::replace(part.begin(), part.end(), '-', '+');
  std::replace(part.begin(), part.end(), '_', '/');
  while (part.size() % 4 != 0) part += '=';
  const auto text = base64_decode(part);
  if (!text) return std::nullopt;
  const Json claims = parse_json(*text).value_or(Json());
  if (!claims.is_object()) return std::nullopt;
  const auto it = claims.find("exp");
  if (it == claims.end() || !it->is_number()) return std::nullopt;
  // The year 2200: far enough for everything, and no overflow of the clock's nanoseconds.
  const double at = std::clamp(it->get<double>(), 0.0, 7258118400.0);
  return WallTime(seconds(static_cast<long long>(at)));
}

}  // namespace lb::marathon
