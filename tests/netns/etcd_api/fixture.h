// V2Api on a loop of its own, against a real etcd.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "etcd/v2_api.h"
#include "netns/etcd_api/etcd_v2.h"

namespace lb::etcd {

inline std::string describe(const Event& event) {
  const char* what = !event.is_delete ? "put" : event.is_directory ? "rmdir" : "delete";
  std::string out = fmt::format("{} {}", what, event.kv.key);
  if (!event.is_delete) out += "=" + event.kv.value;
  if (event.is_delete && event.previous && event.previous->lease != 0) out += " expired";
  return out;
}

class V2ApiTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdV2::installed()) GTEST_SKIP() << "no /usr/bin/etcd: run tools/setup";
    start();
  }
  virtual void start() {
    const auto started = etcd_.start();
    ASSERT_TRUE(started) << started.error().message();
  }

  template <class T>
  T run(asio::awaitable<T> work) {
    return run_on(io_, std::move(work));
  }

  Listing list(const std::string& prefix) {
    auto out = run(api_.list(etcd_.url(), prefix));
    EXPECT_TRUE(out) << out.error().message();
    return out.value_or(Listing{});
  }
  std::vector<std::string> keys(const std::string& prefix) {
    std::vector<std::string> out;
    for (const KeyValue& kv : list(prefix).kvs) out.push_back(kv.key + "=" + kv.value);
    return out;
  }

  std::unique_ptr<Watch> watch(const std::vector<std::string>& prefixes, std::int64_t from = 0) {
    const Header now = list("/nothing/").header;
    std::vector<WatchRequest> requests;
    for (const auto& prefix : prefixes)
      requests.push_back({prefix, from != 0 ? from : now.revision + 1});
    auto out = run(api_.watch(etcd_.url(), now.cluster, requests));
    EXPECT_TRUE(out) << out.error().message();
    return out ? std::move(*out) : nullptr;
  }
  Result<Batch> read(Watch& watch, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    return run(watch.read(std::chrono::steady_clock::now() + patience));
  }
  // Reads on until so many events have come.
  std::vector<std::string> events(Watch& watch, std::size_t count) {
    std::vector<std::string> out;
    while (out.size() < count) {
      const auto batch = read(watch);
      if (!batch) {
        ADD_FAILURE() << batch.error().message();
        break;
      }
      for (const Event& event : batch->events) out.push_back(describe(event));
    }
    return out;
  }

  asio::io_context io_{1};
  EtcdV2 etcd_{io_};
  Access access_ = etcd_.access();
  HttpClient http_{io_};
  V2Api v2_{http_, access_};
  Api& api_ = v2_;
};

}  // namespace lb::etcd
