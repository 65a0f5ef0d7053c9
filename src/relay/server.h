// The updater's side: serves its state to listeners.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/time.h"
#include "relay/connection.h"
#include "relay/fleet.h"
#include "relay/listener_view.h"
#include "relay/message.h"

namespace lb::relay {

struct ServerConfig {
  std::string listen;  // ADDR:PORT; empty: no updater
  TlsFiles tls;        // ca: of client certificates, which are required then
  bool require_tls = false;
  bool shared_certificate = false;  // the name in a listener's certificate does not matter

  bool operator==(const ServerConfig&) const = default;
};

class Server {
 public:
  // EADDRINUSE and so on when it cannot listen; the files of TLS are checked. `orders` outlives it.
  // `changed`: orders were adopted from a listener.
  [[nodiscard]] static Result<std::unique_ptr<Server>> open(asio::io_context& io,
                                                            ServerConfig config,
                                                            FleetOrders& orders, std::string node,
                                                            std::string version,
                                                            std::function<void()> changed);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // What is served from now on; services sorted by key, pointers shared with the call before where
  // nothing changed. Before the first call listeners get a hello and pings.
  void publish(std::vector<ServicePtr> services, std::vector<SourceMark> sources);
  // Only the marks have changed: told with the next ping.
  void mark(std::vector<SourceMark> sources);
  // After an order was adopted here: tells the listeners.
  void orders_changed();
  // What a hello says is different now: has all listeners connect again, which costs no snapshot.
  void greet_again();

  [[nodiscard]] std::vector<ListenerView> listeners() const;  // sorted by node, address
  [[nodiscard]] FleetProgress progress(const FleetOrder& order) const;
  // Which of these orders have ended at every listener; none, if one is away.
  [[nodiscard]] std::set<std::string> ended(std::set<std::string> ids) const;
  [[nodiscard]] Position position() const;
  // One sentence each: plain TCP beyond loopback, for example.
  [[nodiscard]] std::vector<std::string> warnings() const;
  [[nodiscard]] std::string address() const;  // as bound: the port of ":0"
  // Says goodbye and takes no more listeners.
  void stop();

 private:
  class Impl;
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // its coroutines hold it, too
};

}  // namespace lb::relay
