// What lbd needs of etcd, whichever API carries it. Two implementations: v3_api.h (the JSON gateway)
// and v2_api.h (/v2/keys). One endpoint per call: choosing another one after a failure is the
// caller's part (retry.h), which API to use is cluster.h's.
//
// An error's text names the endpoint, what was asked and etcd's own words. Its code is an errno
// value: EACCES (refused: password, token, permission), ESTALE (the revision asked for is gone, or
// another or an older cluster answers: list anew), ENOENT (the lease is gone), ENOTSUP (this endpoint
// does not speak this API), EBADMSG (no etcd, or an answer that cannot be read), ENOSPC (it is
// full), EREMOTEIO (etcd says no), else as in http/client.h.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd {

namespace asio = boost::asio;

class Watch {
 public:
  virtual ~Watch() = default;

  // Suspends until something has arrived. ETIMEDOUT at the deadline: the watch goes on, nothing is
  // lost. Any other error ends it. A batch without events is progress.
  virtual asio::awaitable<Result<Batch>> read(std::chrono::steady_clock::time_point deadline) = 0;

  // How long what arrives may be left unread, so that much of it is handled together; 0 at the start.
  virtual void set_pace(std::chrono::milliseconds pace) = 0;
};

class Api {
 public:
  virtual ~Api() = default;
  [[nodiscard]] virtual ApiVersion version() const = 0;

  // Complete and linearizable: a member without quorum refuses. A prefix is a text ("/svc/web/"); keys
  // that start with it are listed, none is not an error. Where all of them are too much at once, the
  // values of keys that are not `wanted` are left out.
  using Wanted = std::function<bool(std::string_view key)>;
  virtual asio::awaitable<Result<Listing>> list(std::string endpoint, std::string prefix,
                                                Wanted wanted = {}) = 0;
  // Whether there is any key below the prefix; as reliable as list(), and cheap.
  virtual asio::awaitable<Result<bool>> has_keys(std::string endpoint, std::string prefix) = 0;
  // One stream for all requests. Returns once etcd has confirmed it and `cluster` is who answers.
  virtual asio::awaitable<Result<std::unique_ptr<Watch>>> watch(
      std::string endpoint, std::uint64_t cluster, std::vector<WatchRequest> requests) = 0;
  // Asks for something small that needs a quorum; to be called with a watch open at the same endpoint,
  // which a frozen member leaves silent for ever.
  virtual asio::awaitable<Result<Header>> probe(std::string endpoint, std::string key) = 0;

  // Why etcd takes no writes from anybody, in its own words; "": it does, or does not tell.
  virtual asio::awaitable<Result<std::string>> full(std::string endpoint) {
    (void)endpoint;
    co_return std::string();
  }

  virtual asio::awaitable<Result<>> put(std::string endpoint, std::string key, std::string value,
                                        Lease lease = {}) = 0;
  // False when the key is there already; nothing is changed then.
  virtual asio::awaitable<Result<bool>> create(std::string endpoint, std::string key,
                                               std::string value, Lease lease = {}) = 0;
  // Removing the absent succeeds.
  virtual asio::awaitable<Result<>> remove(std::string endpoint, std::string key) = 0;
  virtual asio::awaitable<Result<>> remove_prefix(std::string endpoint, std::string prefix) = 0;

  virtual asio::awaitable<Result<Lease>> grant(std::string endpoint, std::chrono::seconds ttl) = 0;
  // To be called several times within the ttl, with all keys that are under the lease. ENOENT: the
  // lease, or one of the keys, has expired: grant and write anew.
  virtual asio::awaitable<Result<>> keep_alive(std::string endpoint, Lease lease,
                                               std::vector<std::string> keys) = 0;
  // Ends the lease and with it the keys.
  virtual asio::awaitable<Result<>> revoke(std::string endpoint, Lease lease,
                                           std::vector<std::string> keys) = 0;
};

}  // namespace lb::etcd
