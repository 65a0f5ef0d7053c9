// The members of one etcd cluster and both APIs to them; shared by everything that talks to it.
#pragma once

#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "etcd/access.h"
#include "etcd/api.h"
#include "etcd/v2_api.h"
#include "etcd/v3_api.h"
#include "http/client.h"

namespace lb::etcd {

class Cluster {
 public:
  Cluster(asio::io_context& io, Access access);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] const Access& access() const { return access_; }
  [[nodiscard]] Api& api(ApiVersion version);

  struct Choice {
    ApiVersion version = ApiVersion::V3;
    bool found = false;  // there are keys; else another look later may choose otherwise
  };
  // Which of the two stores, which share nothing, holds `prefix`. Only `auto` has a choice: the one
  // chosen `before` if it still has keys, else v3 if it has, else v2 if it has, else v3 if this
  // endpoint speaks it, else v2.
  asio::awaitable<Result<Choice>> choose(std::string endpoint, std::string prefix,
                                         std::optional<ApiVersion> before);

 private:
  Access access_;
  HttpClient http_;
  V3Api v3_;
  V2Api v2_;
};

}  // namespace lb::etcd
