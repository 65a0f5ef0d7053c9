// A real etcd of one member on free loopback ports with a folder of its own, and its keys.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "http/client.h"

namespace lb {

class EtcdServer {
 public:
  // `folder` must exist and outlive the server.
  EtcdServer(asio::io_context& io, std::string folder);
  ~EtcdServer() { stop(); }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  [[nodiscard]] static bool installed();
  Result<> start();  // returns when it answers
  void stop();       // SIGKILL, as the worst case
  void wipe();       // its data; only while stopped
  [[nodiscard]] std::string url() const { return url_; }

  // Each of these runs the loop until etcd has answered.
  std::int64_t put(const std::string& key, const std::string& value, std::int64_t lease = 0);
  void remove(const std::string& key);
  std::int64_t grant(int seconds);
  void revoke(std::int64_t lease);
  void compact(std::int64_t revision);

 private:
  void launch();
  bool answers();
  std::string call(const std::string& path, const std::string& body);

  asio::io_context& io_;
  std::string folder_;
  std::string url_;
  std::string peer_;
  HttpClient http_;
  pid_t pid_ = -1;
};

}  // namespace lb
