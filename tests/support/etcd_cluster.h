// A real etcd of one or three members, each in a network namespace of its own, joined by a bridge to the
// namespace of the test and of lbd: 10.77.0.1 to 10.77.0.3, lbd at 10.77.0.254, and the test writes from
// 10.77.0.253, so that lbd alone can be cut off. Members die with the test, and everything here can be
// done to each of them alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/certificates.h"
#include "support/http_call.h"
#include "support/net_namespace.h"
#include "support/process.h"

namespace lb::test {

struct EtcdOptions {
  std::size_t members = 1;
  bool tls = false;  // members demand a client certificate
  // User root with password "root"; user "lbd" with password "secret", who may read `readable` (key
  // prefixes) and write `writable`. v2's own authentication stays off.
  bool auth = false;
  std::vector<std::string> readable{}, writable{};
  Command flags{};  // more of etcd's own
};

class EtcdCluster {
 public:
  // Why it cannot be had (not installed), or "".
  static std::string obstacle();

  // Returns when every member answers; throws when that takes too long. To be used after the Sandbox
  // was entered, by one thread.
  explicit EtcdCluster(std::string folder, EtcdOptions options = {});
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] std::string url(std::size_t i) const;
  [[nodiscard]] std::vector<std::string> urls() const;
  // The lines of a [[source]] that say where it is and how to get in: endpoints, ca, cert, key,
  // username, password_file.
  [[nodiscard]] std::string source_toml() const;
  [[nodiscard]] HttpCallOptions call_options() const;
  [[nodiscard]] const EtcdOptions& options() const { return options_; }
  [[nodiscard]] const Certificates* certificates() const { return certificates_.get(); }

  // Members that nothing was done to. Writers use these.
  [[nodiscard]] std::vector<std::size_t> sound() const;
  [[nodiscard]] bool answers(std::size_t i);  // linearizable reads
  std::optional<std::size_t> leader();        // as a sound member says
  bool settle(std::chrono::milliseconds patience = std::chrono::seconds(30));  // all answer

  void kill(std::size_t i);                  // SIGKILL
  void freeze(std::size_t i);                // SIGSTOP
  void thaw(std::size_t i);                  // SIGCONT
  void partition_from_peers(std::size_t i);  // clients still reach it
  void partition_from_all(std::size_t i);    // packets vanish, as when the host is gone
  void heal(std::size_t i);                  // ends either
  void cut_off_lbd();                        // its connections break, new ones are refused
  void let_lbd_in();
  void restart(std::size_t i);  // after kill()
  void kill_all();
  void restart_all();
  void wipe_all();  // their data: a new and empty cluster; only while all are killed
  // Copies of the data folders, to be put back later; only while all are killed.
  void save_all(const std::string& name) const;
  void restore_all(const std::string& name) const;

 private:
  struct Member {
    NetNamespace net;
    std::unique_ptr<Process> process;
    bool sound = true;
  };

  [[nodiscard]] static std::string ip(std::size_t i);
  [[nodiscard]] std::string scheme() const { return options_.tls ? "https" : "http"; }
  [[nodiscard]] std::string name(std::size_t i) const;
  [[nodiscard]] std::string data(std::size_t i) const;
  [[nodiscard]] Command command(std::size_t i) const;
  void join_bridge(std::size_t i) const;
  void start(std::size_t i);
  void drop_packets(std::size_t i, const std::string& of);
  void load_rules(std::size_t i, const std::string& rules) const;
  HttpReply status(std::size_t i);
  void enable_auth();

  std::string folder_;
  EtcdOptions options_;
  std::unique_ptr<Certificates> certificates_;
  std::vector<std::unique_ptr<Member>> members_;
  std::unique_ptr<HttpCall> call_;
  std::string generation_ = "lbd-test-1";  // the token of the cluster: another one after wipe_all()
};

}  // namespace lb::test
