// Addresses of host names, by DNS and /etc/hosts. A thread asks for all names at once: one that no
// server answers delays no other. glibc's getaddrinfo() would take a thread for each of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>

#include "base/result.h"

namespace lb {

namespace asio = boost::asio;

// One for each loop: asio::use_service<Resolver>(io). All calls are made on the loop.
class Resolver final : public asio::execution_context::service {
 public:
  using Answer = Result<std::vector<asio::ip::address>>;  // never empty
  using Done = std::function<void(Answer)>;  // called from the loop, never within ask()

  static asio::execution_context::id id;
  explicit Resolver(asio::io_context& io);
  ~Resolver() override;

  // While this lives the question is asked, and keeps the loop running. Afterwards `done` is not called.
  class Question;
  [[nodiscard]] std::shared_ptr<Question> ask(std::string name, Done done);

 private:
  struct State;
  void shutdown() override;
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace lb
