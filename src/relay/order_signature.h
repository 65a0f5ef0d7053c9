// Who vouches for an order: Ed25519 (RFC 8032) by OpenSSL. Keys are 32 bytes, signatures 64, both base64
// where they are shown, sent or saved.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "relay/fleet_order.h"

typedef struct evp_pkey_st EVP_PKEY;  // NOLINT(modernize-use-using): OpenSSL's own declaration

namespace lb {

// The key by which an updater signs.
class OrderSigner {
 public:
  // A private key in PEM (PKCS #8) at `path`, as `openssl genpkey -algorithm ed25519` writes it. Where
  // there is no file one is made, of mode 0600. EACCES: others could read or replace it. The error
  // names the file.
  [[nodiscard]] static Result<OrderSigner> open(const std::string& path);

  [[nodiscard]] const std::string& public_key() const { return public_key_; }
  // Sets key, expires and signature. `expires` is cut to milliseconds, as it is on the wire.
  [[nodiscard]] Result<> sign(FleetOrder& order, SysTime expires) const;

 private:
  OrderSigner(std::shared_ptr<EVP_PKEY> key, std::string public_key)
      : key_(std::move(key)), public_key_(std::move(public_key)) {}

  std::shared_ptr<EVP_PKEY> key_;
  std::string public_key_;
};

// Whether the text is a public key as it is written: 44 characters.
[[nodiscard]] bool is_order_key(std::string_view text);
// EBADMSG: the order is not what `order.key` has signed. Says nothing of whose key that is. Takes a tenth of
// a millisecond, and next to nothing for what was seen before. Any thread.
[[nodiscard]] Result<> check_signature(const FleetOrder& order);

}  // namespace lb
