// What Marathon says of its apps, in one shape for all versions from 0.8 to 1.11. Facts only: which
// of it becomes a backend is decided in rules.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/address.h"

namespace lb::marathon {

enum class Network : std::uint8_t { Host, Bridge, Container };

// One port of an app, at its index in the app's definition.
struct AppPort {
  std::optional<Port> service_port;  // nullopt: not allocated yet, or nonsense (see App::problems)
  bool tcp = true;                   // "udp,tcp" has both
  bool udp = false;
  bool has_host_port = true;             // takes one of Task::ports
  std::optional<Port> container_port{};  // without host port: the backend's port
};

struct Task {
  std::string id;
  std::string host;                        // a name or an address; may be empty
  std::string state;                       // "TASK_RUNNING"; empty: this version does not say
  std::vector<std::optional<Port>> ports;  // nullopt: nonsense at that index
  std::vector<std::string> addresses;      // ip per task, as text
  bool started = false;                    // startedAt is set
  // Results that are there, null ones left out: how many, and is none of them bad?
  std::uint32_t health_results = 0;
  bool all_alive = true;
  bool not_ready = false;  // a readiness check of the running deployment says no
};

struct App {
  std::string id;
  std::map<std::string, std::string> labels;
  Network network = Network::Host;
  bool require_ports = false;  // the task's port is the service port, on its host
  bool has_health_checks = false;
  bool has_readiness_checks = false;
  bool deploying = false;
  std::vector<AppPort> ports;
  std::vector<Task> tasks;
  std::vector<std::string> problems;  // one sentence each, names task and reason; not the app
};

// The body of GET /v2/apps?embed=apps.tasks. An error when it is not a JSON object with an array
// `apps` (an error message of Marathon's, HTML, a truncated answer); whatever is odd inside costs only
// itself. Reads the text in one pass without building a tree: memory stays a small multiple of
// what is kept.
[[nodiscard]] Result<std::vector<App>> parse_apps(std::string_view body);

// The body of GET /v2/apps/ID: an object with an object `app`.
[[nodiscard]] Result<App> parse_app(std::string_view body);

}  // namespace lb::marathon
