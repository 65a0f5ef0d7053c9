// A real etcd of one member with its v2 API, on free loopback ports and with a folder of its own.
#pragma once

#include <sys/types.h>

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "etcd/access.h"
#include "http/client.h"
#include "support/temp_folder.h"

namespace lb::etcd {

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

class EtcdV2 {
 public:
  explicit EtcdV2(asio::io_context& io);
  ~EtcdV2() { stop(); }
  EtcdV2(const EtcdV2&) = delete;
  EtcdV2& operator=(const EtcdV2&) = delete;

  [[nodiscard]] static bool installed();
  Result<> start(bool with_v2 = true);  // returns when it answers
  void stop();                          // SIGKILL
  void freeze(bool frozen) const;       // SIGSTOP, SIGCONT
  void wipe() const;                    // its data; only while stopped
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] Access access() const;

  // Each runs the loop until etcd has answered, whatever it says; the body.
  std::string call(const std::string& method, const std::string& path, const std::string& body = {},
                   const std::string& user = {}, const std::string& content = {});
  std::string set(const std::string& key, const std::string& form) {
    return call("PUT", "/v2/keys" + key, form);
  }
  std::string erase(const std::string& key) { return call("DELETE", "/v2/keys" + key); }

 private:
  asio::io_context& io_;
  TempFolder folder_;
  std::string url_;
  std::string peer_;
  HttpClient http_;
  pid_t pid_ = -1;
};

}  // namespace lb::etcd
