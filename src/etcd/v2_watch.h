// The watch of etcd's v2 API: for each request a long poll that goes on as a stream.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "etcd/api.h"
#include "etcd/v2_codec.h"
#include "http/client.h"

namespace lb::etcd::v2 {

// `get` makes the request for a path and a query; it is called as long as the watch lives, as is `http`.
struct WatchTarget {
  HttpClient& http;
  std::string endpoint;
  std::uint64_t cluster = 0;
  std::function<Result<HttpRequest>(const std::string& path, const std::string& query)> get;
};

asio::awaitable<Result<std::unique_ptr<Watch>>> open_watch(WatchTarget target,
                                                           std::vector<WatchRequest> requests);

[[nodiscard]] Answer answer_of(int status, const std::map<std::string, std::string>& headers,
                               std::string_view body);

}  // namespace lb::etcd::v2
