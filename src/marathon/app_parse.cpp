// Marathon's answer of any version into App. The shapes: networks since 1.5, docker.network and
// ipAddress before; portMappings in two places, portDefinitions since 1.0, ports always until 1.4.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/text.h"
#include "marathon/app.h"
#include "marathon/app_json.h"
#include "marathon/app_task.h"

namespace lb::marathon {
namespace {

using Kind = JsonReader::Kind;

constexpr std::size_t kDoubling = 3;  // a vector that doubles holds so many times its elements

// Ports as one of the four places has them; which place counts is known when the app has been read.
struct PortList {
  std::vector<AppPort> ports;
  std::vector<std::string> problems;
};

struct RawApp {
  App app;
  std::optional<Network> networks;  // since 1.5
  std::optional<Network> docker_network;
  bool ip_address = false;
  PortList mappings;                   // container.portMappings
  PortList docker_mappings;            // container.docker.portMappings
  PortList definitions;                // portDefinitions
  PortList plain;                      // ports
  std::vector<std::string> not_ready;  // ids of tasks
};

// "udp,tcp" is the documented form, "tcp,udp" was seen.
void read_protocol(JsonReader& in, const std::string& what, AppPort& port,
                   std::vector<std::string>& problems) {
  if (in.peek() == Kind::Null) return;
  const std::string_view raw = in.skip();
  std::string text;
  for (const char c : raw)
    if (c != '"' && c != ' ') text.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  const bool both = text == "udp,tcp" || text == "tcp,udp";
  port.tcp = both || text == "tcp";
  port.udp = both || text == "udp";
  if (!port.tcp && !port.udp && !in.failed())
    add_problem(problems, fmt::format("{}: protocol {} is neither tcp nor udp: it is left out",
                                      what, printable(raw, 40)));
}

// `list` is the place's name, `port_key` its word for the service port.
PortList read_port_objects(JsonReader& in, std::string_view list, std::string_view port_key) {
  PortList out;
  in.array([&] {
    const std::string what = fmt::format("{}[{}]", list, out.ports.size());
    AppPort port;
    port.has_host_port = false;
    in.object([&](std::string_view key) {
      if (key == port_key)
        port.service_port = read_port(in, fmt::format("{}.{}", what, key), out.problems);
      else if (key == "containerPort")
        port.container_port = read_port(in, fmt::format("{}.{}", what, key), out.problems);
      else if (key == "hostPort")
        port.has_host_port = in.peek() != Kind::Null;
      else if (key == "protocol")
        read_protocol(in, what, port, out.problems);
    });
    in.keep(kDoubling * sizeof port);
    out.ports.push_back(port);
  });
  return out;
}

PortList read_plain_ports(JsonReader& in) {
  PortList out;
  in.array([&] {
    in.keep(kDoubling * sizeof(AppPort));
    AppPort port;
    port.service_port = read_port(in, fmt::format("ports[{}]", out.ports.size()), out.problems);
    in.keep(kDoubling * sizeof port);
    out.ports.push_back(port);
  });
  return out;
}

// The first network decides; one without a mode is Marathon's default, a container's.
std::optional<Network> read_networks(JsonReader& in) {
  std::optional<Network> first;
  in.array([&] {
    Network network = Network::Container;
    if (in.peek() != Kind::Object) return;
    in.object([&](std::string_view key) {
      if (key != "mode") return;
      const std::string mode = in.string().value_or("");
      if (mode == "host") network = Network::Host;
      if (mode == "container/bridge") network = Network::Bridge;
    });
    if (!first) first = network;
  });
  return first;
}

void read_docker(JsonReader& in, RawApp& raw) {
  in.object([&](std::string_view key) {
    if (key == "network") {
      const std::string network = in.string().value_or("");
      if (network == "BRIDGE") raw.docker_network = Network::Bridge;
      if (network == "USER") raw.docker_network = Network::Container;
    } else if (key == "portMappings") {
      raw.docker_mappings = read_port_objects(in, "portMappings", "servicePort");
    }
  });
}

void read_container(JsonReader& in, RawApp& raw) {
  in.object([&](std::string_view key) {
    if (key == "docker") read_docker(in, raw);
    if (key == "portMappings") raw.mappings = read_port_objects(in, key, "servicePort");
  });
}

bool has_elements(JsonReader& in) {
  bool any = false;
  in.array([&] { any = any || in.peek() != Kind::Null; });
  return any;
}

std::map<std::string, std::string> read_labels_object(JsonReader& in) {
  std::map<std::string, std::string> labels;
  in.object([&](std::string_view key) {
    in.keep(2 * sizeof(std::pair<std::string, std::string>) + key.size());
    std::string name(key);
    const Kind kind = in.peek();
    if (kind == Kind::String)
      labels.insert_or_assign(std::move(name), in.string().value_or(""));
    else if (kind == Kind::Number || kind == Kind::True || kind == Kind::False)
      labels.insert_or_assign(std::move(name), std::string(in.skip()));
  });
  return labels;
}

void read_readiness(JsonReader& in, RawApp& raw) {
  in.array([&] {
    std::string task;
    bool ready = true;
    in.object([&](std::string_view key) {
      if (key == "taskId") task = in.string().value_or("");
      if (key == "ready") ready = in.boolean().value_or(true);
    });
    if (ready) return;
    in.keep(kDoubling * sizeof task);
    raw.not_ready.push_back(std::move(task));
  });
}

void read_tasks(JsonReader& in, App& app) {
  app.tasks.clear();
  in.array([&] {
    auto task = read_task(in, app.problems);
    if (!task) return;
    in.keep(kDoubling * sizeof(Task));
    app.tasks.push_back(std::move(*task));
  });
}

void read_ports_member(JsonReader& in, std::string_view key, RawApp& raw) {
  if (key == "ports")
    raw.plain = read_plain_ports(in);
  else if (key == "portDefinitions")
    raw.definitions = read_port_objects(in, key, "port");
  else if (key == "container")
    read_container(in, raw);
  else if (key == "networks")
    raw.networks = read_networks(in);
  else if (key == "ipAddress")
    raw.ip_address = in.peek() == Kind::Object;
  else if (key == "requirePorts")
    raw.app.require_ports = in.boolean().value_or(false);
}

RawApp read_raw_app(JsonReader& in) {
  RawApp raw;
  in.object([&](std::string_view key) {
    if (key == "id")
      raw.app.id = in.string().value_or("");
    else if (key == "labels")
      raw.app.labels = read_labels_object(in);
    else if (key == "tasks")
      read_tasks(in, raw.app);
    else if (key == "healthChecks")
      raw.app.has_health_checks = has_elements(in);
    else if (key == "readinessChecks")
      raw.app.has_readiness_checks = has_elements(in);
    else if (key == "deployments")
      raw.app.deploying = has_elements(in);
    else if (key == "readinessCheckResults")
      read_readiness(in, raw);
    else
      read_ports_member(in, key, raw);
  });
  return raw;
}

Network network_of(const RawApp& raw) {
  if (raw.networks) return *raw.networks;
  if (raw.docker_network) return *raw.docker_network;
  return raw.ip_address ? Network::Container : Network::Host;
}

// Mappings before all else: 0.8 leaves `ports` at [0] beside static service ports. Definitions and
// plain ports of a container network have no port that could be connected to.
PortList* ports_of(RawApp& raw, Network network) {
  if (network != Network::Host) {
    if (!raw.mappings.ports.empty()) return &raw.mappings;
    if (!raw.docker_mappings.ports.empty()) return &raw.docker_mappings;
    if (network == Network::Container) return nullptr;
  }
  return raw.definitions.ports.empty() ? &raw.plain : &raw.definitions;
}

App finish(RawApp raw) {
  App app = std::move(raw.app);
  app.network = network_of(raw);
  if (PortList* list = ports_of(raw, app.network)) {
    app.ports = std::move(list->ports);
    for (std::string& problem : list->problems) add_problem(app.problems, std::move(problem));
  }
  // In a container's own network only a mapping with a host port takes one.
  if (app.network != Network::Container)
    for (AppPort& port : app.ports) port.has_host_port = true;
  if (raw.not_ready.empty()) return app;
  std::sort(raw.not_ready.begin(), raw.not_ready.end());
  for (Task& task : app.tasks)
    task.not_ready = std::binary_search(raw.not_ready.begin(), raw.not_ready.end(), task.id);
  return app;
}

}  // namespace

Result<std::vector<App>> parse_apps(std::string_view body) {
  JsonReader in(body);
  if (in.peek() != Kind::Object)
    return fail(fmt::format("'{}' is no list of apps: it is not a JSON object",
                            printable(body.substr(0, 60), 60)));
  std::vector<App> apps;
  bool found = false;
  std::string message;
  in.object([&](std::string_view key) {
    if (key == "message") message = in.string().value_or("");
    if (key != "apps") return;
    apps.clear();
    found = in.peek() == Kind::Array;
    in.array([&] {
      if (in.peek() != Kind::Object) return;
      App app = finish(read_raw_app(in));
      if (app.id.empty()) return;
      in.keep(kDoubling * sizeof(App));
      apps.push_back(std::move(app));
    });
  });
  if (in.too_large())
    return fail(EMSGSIZE,
                fmt::format("the list of apps, {} MiB, would take more than three times its "
                            "size of memory to be read",
                            body.size() >> 20));
  if (in.failed() || !in.at_end())
    return fail(fmt::format("the list of apps is broken or cut off: {} of {} bytes are JSON",
                            in.offset(), body.size()));
  if (!found)
    return fail(message.empty() ? std::string("the answer has no array \"apps\"")
                                : fmt::format("the answer is no list of apps, but says '{}'",
                                              printable(message, 120)));
  return apps;
}

Result<App> parse_app(std::string_view body) {
  JsonReader in(body);
  App app;
  in.object([&](std::string_view key) {
    if (key == "app" && in.peek() == Kind::Object) app = finish(read_raw_app(in));
  });
  if (in.failed() || !in.at_end() || app.id.empty())
    return fail(fmt::format("'{}' is no app", printable(body.substr(0, 60), 60)));
  return app;
}

}  // namespace lb::marathon
