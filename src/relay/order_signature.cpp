#include "relay/order_signature.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/file.h"
#include "base/text.h"

namespace lb {
namespace {

constexpr std::size_t kKeySize = 32;
constexpr std::size_t kSignatureSize = 64;
constexpr std::size_t kLargestFile = 16 * 1024;
constexpr unsigned kOwnersOnly = 0600;
// What was found good is good for ever; of so many it is remembered, 64 bytes each.
constexpr std::size_t kRemembered = 20'000;

using Key = std::shared_ptr<EVP_PKEY>;
using Digest = std::array<unsigned char, 32>;  // SHA-256

Key owned(EVP_PKEY* key) {
  return key == nullptr ? Key() : Key(key, [](EVP_PKEY* k) { EVP_PKEY_free(k); });
}

struct MdFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, MdFree>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Each part with its length, so that no two orders have one text.
std::string signed_text(const FleetOrder& order) {
  std::string out = "lbd fleet order 1\n";
  const auto put = [&out](std::string_view part) {
    out += fmt::format("{}:", part.size());
    out += part;
  };
  put(order.key);
  put(order.id);
  put(fmt::format("{}", order.time.time_since_epoch().count()));
  put(fmt::format("{}", order.expires.time_since_epoch().count()));
  put(order.drain ? "drain" : "undrain");
  put(order.target);
  put(order.service);
  put(fmt::format("{}", order.ids.size()));
  for (const std::string& id : order.ids) put(id);
  return out;
}

Result<std::string> public_key_of(const EVP_PKEY* key, const std::string& path) {
  std::string raw(kKeySize, '\0');
  std::size_t size = raw.size();
  if (EVP_PKEY_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size) != 1)
    return fail(EINVAL, fmt::format("{} holds a private key that is not of Ed25519: make one with "
                                    "'openssl genpkey -algorithm ed25519'",
                                    path));
  return base64_encode(raw);
}

Result<Key> read_key(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return fail(errno, path);
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(EACCES,
                fmt::format("{} is not for its owner alone: chmod 600, and make another key "
                            "if it may have been read",
                            path));
  LB_TRY(std::string pem, read_own_file(path, kLargestFile));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  // No passphrase: a key that wants one is no key of a daemon.
  const auto no_words = [](char*, int, int, void*) { return -1; };
  Key key = owned(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_words, nullptr));
  OPENSSL_cleanse(pem.data(), pem.size());
  ERR_clear_error();
  if (!key) return fail(EINVAL, fmt::format("{} holds no private key in PEM", path));
  return key;
}

Result<Key> make_key(const std::string& path) {
  const Key key = owned(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  char* pem = nullptr;
  if (!key ||
      PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(EIO, "OpenSSL makes no Ed25519 key");
  const long size = BIO_get_mem_data(bio.get(), &pem);
  LB_CHECK(write_file_atomically(path, {pem, static_cast<std::size_t>(size)}, kOwnersOnly));
  return key;
}

Digest digest_of(std::string_view text, std::string_view signature) {
  Digest out{};
  const Context context(EVP_MD_CTX_new());
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  EVP_DigestUpdate(context.get(), text.data(), text.size());
  EVP_DigestUpdate(context.get(), signature.data(), signature.size());
  EVP_DigestFinal_ex(context.get(), out.data(), nullptr);
  return out;
}

// A fleet that comes back after a restart carries the same orders, each listener all of them.
class SeenBefore {
 public:
  [[nodiscard]] bool has(const Digest& digest) {
    const std::lock_guard lock(mutex_);
    return good_.contains(digest);
  }
  void add(const Digest& digest) {
    const std::lock_guard lock(mutex_);
    if (good_.size() >= kRemembered) good_.clear();
    good_.insert(digest);
  }

 private:
  std::mutex mutex_;
  std::set<Digest> good_;
};

SeenBefore& seen_before() {
  static SeenBefore seen;
  return seen;
}

// The bytes of base64 text, if they are so many.
std::string raw_bytes(std::string_view text, std::size_t size) {
  if (text.size() != (size + 2) / 3 * 4) return {};
  auto raw = base64_decode(text);
  return raw && raw->size() == size ? *std::move(raw) : std::string();
}

}  // namespace

Result<OrderSigner> OrderSigner::open(const std::string& path) {
  auto key = read_key(path);
  if (!key && key.error().code == std::errc::no_such_file_or_directory) key = make_key(path);
  if (!key) return tl::unexpected(key.error());
  LB_TRY(std::string public_key, public_key_of(key->get(), path));
  return OrderSigner(*std::move(key), std::move(public_key));
}

Result<> OrderSigner::sign(FleetOrder& order, SysTime expires) const {
  FleetOrder out = order;
  out.key = public_key_;
  out.expires = std::chrono::floor<std::chrono::milliseconds>(expires);
  const std::string text = signed_text(out);
  std::string raw(kSignatureSize, '\0');
  std::size_t size = raw.size();
  const Context context(EVP_MD_CTX_new());
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(raw.data()), &size,
                     bytes_of(text), text.size()) != 1)
    return fail(EIO, "OpenSSL signs nothing with the key of this updater");
  out.signature = base64_encode(raw);
  order = std::move(out);
  return {};
}

bool is_order_key(std::string_view text) { return !raw_bytes(text, kKeySize).empty(); }

Result<> check_signature(const FleetOrder& order) {
  const auto bad = [&order](std::string_view what) {
    return fail(EBADMSG, fmt::format("order {} of {} {}", printable(order.id, 100),
                                     printable(order.target, 100), what));
  };
  const std::string raw_key = raw_bytes(order.key, kKeySize);
  const std::string raw_signature = raw_bytes(order.signature, kSignatureSize);
  if (raw_key.empty()) return bad("has a key that is none");
  if (raw_signature.empty()) return bad("has a signature that is none");
  const std::string text = signed_text(order);
  const Digest digest = digest_of(text, raw_signature);
  if (seen_before().has(digest)) return {};
  const Key key = owned(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(raw_key), raw_key.size()));
  const Context context(EVP_MD_CTX_new());
  const bool good =
      key && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), bytes_of(raw_signature), raw_signature.size(), bytes_of(text),
                       text.size()) == 1;
  ERR_clear_error();
  if (!good) return bad("is not what its key has signed");
  seen_before().add(digest);
  return {};
}

}  // namespace lb
