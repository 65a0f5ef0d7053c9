// One request to etcd's JSON gateway: where each endpoint has it, with which token, and once more when
// one of the two was out of date.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "etcd/access.h"
#include "etcd/v3_auth.h"
#include "etcd/v3_codec.h"
#include "http/client.h"

namespace lb::etcd {

class V3Gateway {
 public:
  V3Gateway(HttpClient& http, const Access& access)
      : http_(http), access_(access), auth_(http, access) {}

  struct Call {
    std::string endpoint;
    std::string path;  // below the gateway's: "/kv/range"
    std::string body;
    std::string what;  // for errors: "range of /svc/"
    std::chrono::milliseconds timeout{5000};
    std::size_t max_body = std::size_t{64} << 20;
  };

  // The body of an answer with status 200.
  asio::awaitable<Result<std::string>> ask(Call call);

  // The same in steps, for a watch: prepare, open it, and where that was refused ask whether to start
  // again. `attempt` comes from prepare().
  struct Attempt {
    HttpRequest request;
    Gateway gateway;
    std::string token;
    bool known = false;  // the gateway's path was not looked up for this call
  };
  asio::awaitable<Result<Attempt>> prepare(Call call);
  [[nodiscard]] bool worth_another(const Call& call, const Attempt& attempt,
                                   const Refusal& refusal);
  // Another server may answer there next time.
  void forget(const std::string& endpoint) { gateways_.erase(endpoint); }

  [[nodiscard]] static tl::unexpected<Error> failed(const Call& call, Error error);

 private:
  asio::awaitable<Result<Gateway>> look_up(std::string endpoint);

  HttpClient& http_;
  const Access& access_;
  V3Auth auth_;
  std::map<std::string, Gateway> gateways_;  // by endpoint
};

}  // namespace lb::etcd
