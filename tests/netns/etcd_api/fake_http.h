// A server that is no etcd: it gives each request the same bytes, and says what it was asked.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace lb::etcd {

class FakeHttp {
 public:
  // What it does after the reply.
  enum class Then { Close, Hold };

  FakeHttp(boost::asio::io_context& io, std::string reply, Then then = Then::Close);
  ~FakeHttp();
  FakeHttp(const FakeHttp&) = delete;
  FakeHttp& operator=(const FakeHttp&) = delete;

  [[nodiscard]] std::string url() const;
  [[nodiscard]] const std::vector<std::string>& asked() const;  // the first line of each request
  [[nodiscard]] int hung_up() const;  // connections that the client has closed

  // A complete answer.
  static std::string reply(const std::string& status, const std::string& headers,
                           const std::string& body);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lb::etcd
