// One node of a fake Marathon: its HTTP side and its control socket, in one loop.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "support/fake_marathon.h"
#include "support/fake_marathon_auth.h"
#include "support/fake_marathon_events.h"
#include "support/fake_marathon_zk.h"

namespace lb::test {

class MarathonNode {
 public:
  explicit MarathonNode(FakeMarathonOptions options);
  ~MarathonNode();
  MarathonNode(const MarathonNode&) = delete;
  MarathonNode& operator=(const MarathonNode&) = delete;

  void run() { io_.run(); }
  void stop() { io_.stop(); }  // from any thread
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& control() const { return options_.control; }
  [[nodiscard]] const char* scheme() const { return options_.cert.empty() ? "http" : "https"; }

 private:
  struct Fault {
    std::string kind, path;
    int times = -1;
    int ms = 3000;
    std::size_t bytes = std::size_t{50} << 20;
    std::string location;
    std::string app;
  };
  using Local = asio::local::stream_protocol;

  // Leadership.
  void take_turn();
  void begin_to_lead();
  void stop_leading();
  asio::awaitable<void> turns();
  asio::awaitable<void> heartbeats();

  // Commands.
  asio::awaitable<void> accept_control();
  asio::awaitable<void> serve_control(std::shared_ptr<Local::socket> socket);
  asio::awaitable<std::string> command(std::string line);
  asio::awaitable<std::string> hand_to_leader(std::string line);
  Json run_here(const Json& command, const std::string& what);
  Json run_model(const Json& command);
  void run_later(int ms, Json command);
  void set_fault(const Json& command);
  [[nodiscard]] Json describe() const;

  // HTTP.
  asio::awaitable<void> accept();
  asio::awaitable<void> serve(LinkPtr link);
  // These say whether the connection goes on.
  asio::awaitable<bool> handle(LinkPtr link, MarathonRequest request);
  asio::awaitable<bool> handle_well(LinkPtr link, MarathonRequest request);
  asio::awaitable<bool> answer_oddly(LinkPtr link, MarathonRequest request, Fault fault);
  asio::awaitable<bool> fail(LinkPtr link, MarathonRequest request, Fault fault);
  asio::awaitable<bool> reply(LinkPtr link, MarathonReply reply, bool zipped);
  asio::awaitable<bool> follow_leader(LinkPtr link, MarathonRequest request);
  asio::awaitable<bool> proxy(LinkPtr link, MarathonRequest request, std::string leader);
  asio::awaitable<bool> stream(LinkPtr link, MarathonRequest request);
  asio::awaitable<void> watch_for_end(StreamPtr stream);
  [[nodiscard]] MarathonReply answer(const MarathonRequest& request, std::size_t filler);
  [[nodiscard]] MarathonReply incomplete(const MarathonRequest& request, const Fault& fault);
  void load_if_standby();
  [[nodiscard]] std::optional<Fault> take_fault(const std::string& path);
  void note(const MarathonRequest& request);
  [[nodiscard]] bool zips(const MarathonRequest& request) const;

  FakeMarathonOptions options_;
  asio::io_context io_{1};  // first: what still waits in it is destroyed last
  asio::ssl::context tls_{asio::ssl::context::tls_server};
  asio::ssl::context tls_client_{asio::ssl::context::tls_client};
  asio::ip::tcp::acceptor acceptor_{io_};
  Local::acceptor control_{io_};
  std::string address_;
  FakeZookeeper zk_;
  MarathonModel model_;
  FakeMarathonAuth auth_{options_};
  EventStreams streams_{io_.get_executor()};
  std::vector<Fault> faults_;
  std::deque<MarathonRequest> requests_;
  std::map<std::string, int> counts_;
  int refusals_ = 0;
  std::map<std::string, std::string> rendered_;  // answers to /v2/apps by target
  std::optional<std::chrono::steady_clock::time_point> leads_from_;  // has the lock
  bool leads_ = false;
};

}  // namespace lb::test
