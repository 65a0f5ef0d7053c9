// One etcd and the v3 API to it. What the test does to etcd itself it does with a client of its own.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "etcd/v3_api.h"
#include "support/etcd_cluster.h"
#include "support/etcd_keys.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::etcd {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// Runs the loop until the coroutine has ended; what else is on the loop goes on meanwhile.
template <class T>
T run_on(asio::io_context& io, asio::awaitable<T> work) {
  std::optional<T> out;
  std::exception_ptr thrown;
  asio::co_spawn(io, std::move(work), [&](std::exception_ptr error, T value) {
    thrown = std::move(error);
    out.emplace(std::move(value));
  });
  io.restart();
  while (!out) io.run_one();
  if (thrown) std::rethrow_exception(thrown);
  return *std::move(out);
}

class V3Test : public testing::Test {
 protected:
  void SetUp() override {
    const std::string obstacle = test::Sandbox::obstacle() + test::EtcdCluster::obstacle();
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
    sandbox_ = std::make_unique<test::Sandbox>();
    test::bring_up_loopback();
  }

  // `access_` may be changed until the first use of api().
  void start(test::EtcdOptions options = {}) {
    cluster_ = std::make_unique<test::EtcdCluster>(sandbox_->folder(), std::move(options));
    keys_ = std::make_unique<test::EtcdKeys>(*cluster_, test::EtcdStore::V3);
    access_.endpoints = cluster_->urls();
    if (cluster_->options().tls) {
      access_.tls.ca = cluster_->certificates()->ca();
      access_.tls.cert = cluster_->certificates()->cert("client");
      access_.tls.key = cluster_->certificates()->key("client");
    }
    if (cluster_->options().auth) {
      set_password("secret");
      access_.username = "lbd";
      access_.password_file = password_file();
    }
  }

  [[nodiscard]] std::string password_file() const { return sandbox_->folder() + "/secret"; }
  void set_password(const std::string& password) const {
    test::replace_file(password_file(), password + "\n");
  }
  [[nodiscard]] std::string url() const { return access_.endpoints.front(); }

  V3Api& api() {
    if (!api_) {
      http_ = std::make_unique<HttpClient>(io_);
      api_ = std::make_unique<V3Api>(*http_, access_);
    }
    return *api_;
  }

  template <class T>
  T run(asio::awaitable<T> work) {
    return run_on(io_, std::move(work));
  }

  // Of the watch: one batch, or what came instead.
  Result<Batch> read(Watch& watch, std::chrono::milliseconds patience = 20s) {
    return run(watch.read(steady_clock::now() + patience));
  }

  std::unique_ptr<Watch> watch(const std::string& prefix, std::int64_t start, std::uint64_t id) {
    auto opened = run(api().watch(url(), id, {{prefix, start}}));
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? std::move(*opened) : nullptr;
  }
  Listing list(const std::string& prefix) {
    auto listing = run(api().list(url(), prefix));
    EXPECT_TRUE(listing) << listing.error().message();
    return listing ? std::move(*listing) : Listing{};
  }

  asio::io_context io_{1};
  std::unique_ptr<test::Sandbox> sandbox_;
  std::unique_ptr<test::EtcdCluster> cluster_;
  std::unique_ptr<test::EtcdKeys> keys_;
  Access access_;
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<V3Api> api_;
};

// Of an error: its code, and that it names this.
template <class T>
testing::AssertionResult fails(const Result<T>& result, int code,
                               std::initializer_list<std::string> words) {
  if (result) return testing::AssertionFailure() << "it succeeded";
  const std::string text = result.error().message();
  if (result.error().code.value() != code)
    return testing::AssertionFailure() << result.error().code.value() << ": " << text;
  for (const std::string& word : words)
    if (text.find(word) == std::string::npos)
      return testing::AssertionFailure() << "nothing of '" << word << "' in: " << text;
  return testing::AssertionSuccess() << text;
}

}  // namespace lb::etcd
