// A Marathon that does as it is told: apps and tasks in memory, shown in the shape of a chosen version,
// events, leader and standbys, and every way of failing. One object (or one process) is one node.
//
// In a test:
//   FakeMarathon marathon({.version = "1.8"});             // on a free port of 127.0.0.1
//   marathon.add_app({.id = "/web", .ports = {10001}});
//   const auto task = marathon.launch("/web", "10.0.0.1", {31001});
//   marathon.kill(task);                                   // status_update_event and all
//   marathon.fault("json_error_200");                      // until fault("none")
//
// As processes, for example one per network namespace. Nodes of one cluster share a folder, which is
// their ZooKeeper (who leads, and the apps); control sockets are files, so they work from any namespace:
//   fake_marathon --version 1.8 --node 1 --zk /tmp/x/zk --listen 10.1.0.1:8080 --control /tmp/x/m1.sock
//   FakeMarathonSocket m1("/tmp/x/m1.sock");               // the same functions as above
// or by hand, one JSON object a line, on the socket or on standard input:
//   echo '{"do":"app","id":"/web","ports":[10001]}' | socat - UNIX:/tmp/x/m1.sock
//
// Commands, with what may be left out in brackets; each is answered by one line, {"ok":true,...} or
// {"ok":false,"error":"..."}. What changes apps may be sent to any node, which hands it to the leader.
// [silent: true] on those: no event tells of it.
//   app       id, ports: [10001 | {port, protocol, container_port, host_port: false, name}]
//             [network: host|bridge|container, labels, health_checks: 1, readiness: 1, require_ports, cmd]
//             adds it, or changes it and keeps its tasks
//   remove_app id        all its tasks end
//   launch    app, host, ports [ip, state: TASK_RUNNING, alive, count: 1]  -> task (the last one's id)
//             with count: as many tasks, each port one higher than that of the task before
//   kill      task [ms]  TASK_KILLING for so long where that is enabled, then TASK_KILLED, then gone
//   state     task, state    terminal ones are gone at once
//   health    task, alive: true|false|null    null: no result
//   ready     task, ready                     of a readiness check, shown while deploying
//   deploying app, on
//   unhealthy_kill task  as a health check does it
//   emit      event, data: {...}              any event at all
//   elect     node       it leads from now on; results of health checks are lost, as with the real one
//   resign    [ms]       the leader goes; nobody leads for so long (1000)
//   leader               -> leader: "host:port" or null, node
//   fault     kind [times, path: "/v2/apps", ms, bytes]   on the node that is told
//   streams   how: stall|resume|half_close|close|reset [on the node that is told]
//   requests             -> requests: [{method, target, headers}], the last 500; counts by path; streams;
//             refusals: how many 401s
//   revoke               every token that the login gave
//   version   version    another version from now on
//
// Faults, of answers to `path` (and what is below it), for `times` requests or until "none":
//   none  slow (ms, 3000)  drip (bytes trickle for ms)  500  503  json_error_200  json_error_502
//   bad_gateway (502, HTML)  unauthorized (401)  truncated  truncated_chunked  hang  reset  garbage  html
//   empty (no apps)  empty_body  redirect_loop  redirect (to `location`)  big (bytes, 50 MiB)  404
// Of lists of apps alone, while each app is there by its name:
//   short (without `app`, or without any)  taskless (apps without tasks)
//   wiped   as one that has never heard of an app, neither in lists nor by name
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lb::test {

struct FakePort {
  FakePort(int service_port)
      : port(service_port) {}  // NOLINT: a list of numbers is what tests want
  FakePort(int service_port, std::string proto) : port(service_port), protocol(std::move(proto)) {}
  int port;
  std::string protocol = "tcp";
  int container_port = 80;
  bool host_port = true;
};

struct FakeApp {
  std::string id;
  std::vector<FakePort> ports;
  std::string network = "host";
  std::map<std::string, std::string> labels{{"marathoner_haproxy_enabled", "true"}};
  int health_checks = 0;
  int readiness = 0;
  bool require_ports = false;
};

// What can be done with a node; throws std::runtime_error with the node's words when it refuses.
class FakeMarathonControl {
 public:
  virtual ~FakeMarathonControl() = default;
  // A command and its answer, both JSON; of any node.
  virtual std::string call(const std::string& command) = 0;

  void add_app(const FakeApp& app, bool silent = false);
  void remove_app(const std::string& id, bool silent = false);
  std::string launch(const std::string& app, const std::string& host, std::vector<int> ports,
                     std::optional<bool> alive = std::nullopt, bool silent = false);
  void kill(const std::string& task, std::chrono::milliseconds killing = {}, bool silent = false);
  void set_state(const std::string& task, const std::string& state, bool silent = false);
  void set_health(const std::string& task, std::optional<bool> alive, bool silent = false);
  void fault(const std::string& kind, int times = -1, const std::string& path = "/v2/apps");
  void streams(const std::string& how);
  void elect(unsigned node);  // returns once it leads
  void resign(std::chrono::milliseconds nobody);
  void wait_for_leader();
  // How often a path was asked for (without its query), and open event streams.
  int count(const std::string& path);
  int open_streams();
  int refusals();  // 401s so far
};

struct FakeMarathonOptions {
  std::string version = "1.8";
  std::string listen = "127.0.0.1:0";
  std::string advertise{};  // "host:port" as others are told; "": where it listens
  std::string zk{};         // folder shared by the nodes of a cluster; "": alone
  std::string control{};    // path of a unix socket; "": none
  unsigned node = 1;
  std::string basic{};            // "user:password"
  std::string token{};            // a fixed one: "Authorization: token=..."
  std::string dcos_public_key{};  // PEM file: POST /acs/api/v1/auth/login gives tokens
  std::string dcos_uid = "lbd";
  bool dcos_cookie = false;  // the token is in the cookie only
  std::chrono::seconds token_life{3600};
  std::string cert{}, key{}, client_ca{};  // TLS; with client_ca client certificates are required
  std::chrono::milliseconds heartbeat{10'000};
  std::chrono::milliseconds election{300};  // between two leaders
  bool task_killing = true;                 // --enable_features task_killing
  bool gzip = true;
};

// One node in this process, on a thread of its own.
class FakeMarathon final : public FakeMarathonControl {
 public:
  explicit FakeMarathon(FakeMarathonOptions options = {});
  ~FakeMarathon() override;
  FakeMarathon(const FakeMarathon&) = delete;
  FakeMarathon& operator=(const FakeMarathon&) = delete;

  [[nodiscard]] std::string url() const;  // "http://127.0.0.1:PORT"
  std::string call(const std::string& command) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A node elsewhere, by its control socket. Waits up to 10 s for the node to be there.
class FakeMarathonSocket final : public FakeMarathonControl {
 public:
  explicit FakeMarathonSocket(std::string path) : path_(std::move(path)) {}
  std::string call(const std::string& command) override;

 private:
  std::string path_;
};

}  // namespace lb::test
