// Carries a registration's goals to etcd: one attempt at one endpoint at a time, the next endpoint
// after a failure. Decides nothing of when.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "etcd/api.h"
#include "etcd/retry.h"
#include "tools/lbctl/register_keys.h"

namespace lb::lbctl {

namespace asio = boost::asio;

struct WriteReport {
  Goal goal = Goal::Seen;
  Result<> done;
  std::string where;                  // "http://10.0.0.1:2379 (v3)"
  std::string other_address;          // WritePlan's
  std::chrono::milliseconds pause{};  // after a failure: before the next attempt
};

class Registrar {
 public:
  // The API to use at an endpoint; asked anew until it has been used once, since only a cluster that
  // answers can tell where the prefix has keys.
  using ApiAt = std::function<asio::awaitable<Result<etcd::Api*>>(std::string endpoint)>;

  Registrar(std::vector<std::string> endpoints, ApiAt api_at, BackendKeys keys)
      : endpoints_(std::move(endpoints)),
        api_at_(std::move(api_at)),
        keys_(std::move(keys)),
        retry_(endpoints_.size()) {}
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  asio::awaitable<WriteReport> reach(Goal goal, SysTime now);
  asio::awaitable<Result<PublishedLeft>> published(std::string state_prefix, std::string name);
  // To be called once after each attempt, also after one that was given up: what follows for the
  // endpoint, and the pause before the next attempt. `random` in [0, 1) spreads a fleet's retries.
  [[nodiscard]] std::chrono::milliseconds settle(const std::error_code& code, double random);
  [[nodiscard]] const std::string& endpoint() const { return endpoints_[retry_.endpoint()]; }

 private:
  asio::awaitable<Result<etcd::Api*>> api();
  asio::awaitable<Result<WriteReport>> attempt(Goal goal, SysTime now);
  asio::awaitable<Result<>> write(etcd::Api& api, WritePlan plan);

  std::vector<std::string> endpoints_;
  ApiAt api_at_;
  BackendKeys keys_;
  etcd::Retry retry_;
  etcd::Api* api_ = nullptr;
};

}  // namespace lb::lbctl
