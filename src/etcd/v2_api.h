// The v2 API of etcd, /v2/keys. A prefix is what etcd holds below a directory, flattened. Its access
// control is v2's own: HTTP Basic, a user and roles that have nothing to do with v3's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "etcd/access.h"
#include "etcd/api.h"
#include "http/client.h"

namespace lb::etcd {

// Owned beside `http` and `access`, which outlive it; it outlives its watches.
class V2Api final : public Api {
 public:
  V2Api(HttpClient& http, const Access& access) : http_(http), access_(access) {}

  [[nodiscard]] ApiVersion version() const override { return ApiVersion::V2; }
  asio::awaitable<Result<Listing>> list(std::string endpoint, std::string prefix,
                                        Wanted wanted = {}) override;
  asio::awaitable<Result<bool>> has_keys(std::string endpoint, std::string prefix) override;
  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(
      std::string endpoint, std::uint64_t cluster, std::vector<WatchRequest> requests) override;
  asio::awaitable<Result<Header>> probe(std::string endpoint, std::string key) override;
  asio::awaitable<Result<>> put(std::string endpoint, std::string key, std::string value,
                                Lease lease) override;
  asio::awaitable<Result<bool>> create(std::string endpoint, std::string key, std::string value,
                                       Lease lease) override;
  asio::awaitable<Result<>> remove(std::string endpoint, std::string key) override;
  asio::awaitable<Result<>> remove_prefix(std::string endpoint, std::string prefix) override;
  // Asks nothing of etcd: v2 has no leases, each key has a TTL of its own.
  asio::awaitable<Result<Lease>> grant(std::string endpoint, std::chrono::seconds ttl) override;
  // Not told to watchers, but it moves the keys' mod_revision in listings.
  asio::awaitable<Result<>> keep_alive(std::string endpoint, Lease lease,
                                       std::vector<std::string> keys) override;
  asio::awaitable<Result<>> revoke(std::string endpoint, Lease lease,
                                   std::vector<std::string> keys) override;

 private:
  struct Call {
    std::string endpoint;
    const char* what = "";  // "list", for messages
    std::string key;
    const char* method = "GET";
    bool whole_directory = false;  // of the prefix `key`
    std::string query{};
    std::string form{};
    std::chrono::milliseconds timeout{5'000};
  };
  [[nodiscard]] Result<HttpRequest> request(std::string url, const char* method) const;
  // Any status. An error names endpoint, call and key.
  asio::awaitable<Result<HttpResponse>> ask(Call call);
  // Success is a status of 2xx and a header of etcd.
  asio::awaitable<Result<>> change(Call call, int tolerated_error);

  HttpClient& http_;
  const Access& access_;
};

}  // namespace lb::etcd
