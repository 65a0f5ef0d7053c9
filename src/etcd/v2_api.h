// The v2 API of etcd, /v2/keys.
#pragma once

#include <string>
#include <vector>

#include "etcd/access.h"
#include "etcd/api.h"
#include "http/client.h"

namespace lb::etcd {

class V2Api final : public Api {
 public:
  V2Api(HttpClient& http, const Access& access) : http_(http), access_(access) {}

  [[nodiscard]] ApiVersion version() const override { return ApiVersion::V2; }
  asio::awaitable<Result<Listing>> list(std::string endpoint, std::string prefix) override;
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
  asio::awaitable<Result<Lease>> grant(std::string endpoint, std::chrono::seconds ttl) override;
  asio::awaitable<Result<>> keep_alive(std::string endpoint, Lease lease,
                                       std::vector<std::string> keys) override;
  asio::awaitable<Result<>> revoke(std::string endpoint, Lease lease,
                                   std::vector<std::string> keys) override;

 private:
  HttpClient& http_;
  const Access& access_;
};

}  // namespace lb::etcd
