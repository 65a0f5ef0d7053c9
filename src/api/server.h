// The HTTP server on lbd's unix socket. Who may do what is decided by the peer's credentials (caller.h);
// the socket's mode only keeps strangers out, where one group is enough to say who is none. Knows bytes, limits and time; what a request means is routes.h's.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "api/caller.h"
#include "api/control.h"
#include "base/result.h"

namespace lb {

class ApiServer {
 public:
  // Listens on `path`; a socket that a dead lbd left there is replaced atomically (the lock of the
  // runtime folder has decided before that it is dead). EEXIST when something else is in the way.
  // `control` and `io` outlive the server, and the server outlives io.run(). With groups in `access` their
  // members can reach the socket, and its folder lets them pass.
  [[nodiscard]] static Result<ApiServer> open(asio::io_context& io, const std::string& path,
                                              Control& control, ApiAccess access = {});

  ApiServer(ApiServer&&) noexcept;
  ApiServer& operator=(ApiServer&&) noexcept;
  ~ApiServer();  // removes the socket, unless a successor has replaced it

  // Takes no more connections and closes the idle ones; requests in work get their answer.
  void stop();

 private:
  class Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lb
