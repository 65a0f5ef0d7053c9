// A host that balances, clients and backends beside it. The test's own namespace is the balancing host: 10.80.0.1 and fd80::1 on
// one wire with the client and two backends, 10.81.0.1 and fd81::1 on another one with a third backend.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "dataplane/nft_dataplane.h"
#include "support/net_namespace.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {

constexpr auto kRefused = "errno 111", kTimedOut = "errno 110";  // what a client gets

// Runs it in a thread in that namespace; sockets that it makes stay there.
void inside(const NetNamespace& net, const std::function<void()>& what);

// Answers each datagram with its name.
class UdpServer {
 public:
  UdpServer(std::string_view at, std::string name);
  ~UdpServer();
  UdpServer(const UdpServer&) = delete;
  UdpServer& operator=(const UdpServer&) = delete;

 private:
  UniqueFd socket_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class PublishTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A server in a namespace that greets with `name`, by TCP or UDP.
  void serve(const NetNamespace& net, const std::string& at, const std::string& name);
  void serve_udp(const NetNamespace& net, const std::string& at, const std::string& name);

  // From the client: what it is greeted with, or "errno N"; 110 when nothing came in time.
  std::string ask(const std::string& to) { return ask_from(client_, to); }
  static std::string ask_from(const NetNamespace& net, const std::string& to);
  std::string ask_udp(const std::string& to, int from_port);
  UniqueFd connect(const std::string& to);  // from the client

  void open();
  static ProgrammedService service(std::string_view key, std::vector<ProgrammedBackend> backends,
                                   Balance balance = Balance::Random);
  void program(const ProgrammedService& service);
  ObservedBackend observed(std::string_view key, std::string_view backend);
  [[nodiscard]] NftOptions options() const { return {"lbd", sandbox_->folder()}; }
  static std::string ruleset() { return run({"nft", "list", "ruleset"}).out; }

  std::unique_ptr<Sandbox> sandbox_;
  NetNamespace wire_, client_, b1_, b2_, b3_;
  std::unique_ptr<Dataplane> dataplane_;

 private:
  void plug(const NetNamespace& net, const std::string& port, const std::string& bridge,
            const std::string& v4, const std::string& v6);
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<UdpServer>> udp_servers_;
};

inline ProgrammedBackend backend(std::string_view at, std::uint32_t weight = 1) {
  return {address(at), weight};
}

}  // namespace lb::test
