// A watch of v3 over its HTTP stream.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "etcd/api.h"
#include "etcd/v3_gateway.h"
#include "etcd/v3_watch_codec.h"
#include "http/client.h"

namespace lb::etcd {

class V3Watch final : public Watch {
 public:
  V3Watch(HttpStream stream, std::string endpoint, WatchAssembler assembler)
      : stream_(std::move(stream)),
        endpoint_(std::move(endpoint)),
        assembler_(std::move(assembler)) {}

  asio::awaitable<Result<>> await_confirmation(std::chrono::steady_clock::time_point deadline);
  asio::awaitable<Result<Batch>> read(std::chrono::steady_clock::time_point deadline) override;
  void set_pace(std::chrono::milliseconds pace) override { stream_.set_pace(pace); }
  [[nodiscard]] bool wants_token() const { return assembler_.wants_token(); }

 private:
  asio::awaitable<Result<>> feed(std::string bytes);
  asio::awaitable<Result<>> read_more(std::chrono::steady_clock::time_point deadline);

  HttpStream stream_;
  std::string endpoint_;
  WatchAssembler assembler_;
};

asio::awaitable<Result<std::unique_ptr<Watch>>> open_v3_watch(HttpClient& http, V3Gateway& gateway,
                                                              std::string endpoint,
                                                              std::uint64_t cluster,
                                                              std::vector<WatchRequest> requests);

}  // namespace lb::etcd
