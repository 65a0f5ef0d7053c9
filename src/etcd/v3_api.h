// etcd's v3 API through its JSON gateway.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "etcd/access.h"
#include "etcd/api.h"
#include "etcd/v3_gateway.h"
#include "http/client.h"

namespace lb::etcd {

class V3Api final : public Api {
 public:
  V3Api(HttpClient& http, const Access& access) : http_(http), gateway_(http, access) {}

  [[nodiscard]] ApiVersion version() const override { return ApiVersion::V3; }
  asio::awaitable<Result<Listing>> list(std::string endpoint, std::string prefix,
                                        Wanted wanted = {}) override;
  asio::awaitable<Result<bool>> has_keys(std::string endpoint, std::string prefix) override;
  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(
      std::string endpoint, std::uint64_t cluster, std::vector<WatchRequest> requests) override;
  asio::awaitable<Result<Header>> probe(std::string endpoint, std::string key) override;
  asio::awaitable<Result<std::string>> full(std::string endpoint) override;
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
  template <class T>
  asio::awaitable<Result<T>> ask(V3Gateway::Call call, Result<T> (*parse)(std::string_view));
  asio::awaitable<Result<RangeResponse>> range(std::string endpoint, std::string what,
                                               RangeQuery query);
  // What one listing shares with its pages.
  struct Walk {
    std::string endpoint;
    std::string prefix;
    Wanted wanted;
    bool compacted = false;  // the history went while its pages were read
    Listing out;
  };
  asio::awaitable<Result<>> list_pages(Walk& walk);
  asio::awaitable<Result<RangeResponse>> page(Walk& walk, RangeQuery query);
  asio::awaitable<Result<>> fetch_values(Walk& walk, std::vector<KeyValue>& kvs);
  asio::awaitable<Result<>> fetch_run(Walk& walk, std::span<KeyValue> run);

  std::set<std::string> bulky_;  // prefixes whose pages were too large with all their values
  HttpClient& http_;
  V3Gateway gateway_;
};

}  // namespace lb::etcd
