// The shapes of /v2/apps in the versions of Marathon, composed after its serializers.
#include <algorithm>

#include <fmt/format.h>

#include "support/fake_marathon_model.h"

namespace lb::test {
namespace {

struct Port {
  int port = 0;
  std::string protocol = "tcp";
  int container_port = 80;
  bool host_port = true;
  std::string name;
};

std::vector<Port> ports_of(const Json& spec) {
  std::vector<Port> out;
  for (const Json& one : spec.value("ports", Json::array())) {
    if (one.is_number()) {
      out.push_back({one.get<int>(), "tcp", 80, true, ""});
      continue;
    }
    out.push_back({one.value("port", 0), one.value("protocol", "tcp"),
                   one.value("container_port", 80), one.value("host_port", true),
                   one.value("name", "")});
  }
  return out;
}

Json mapping(const Port& port, const MarathonVersion& v, bool container) {
  Json out{{"containerPort", port.container_port},
           {"servicePort", port.port},
           {"protocol", port.protocol}};
  if (!container || port.host_port) out["hostPort"] = 0;
  if (v.at_least(1, 0)) out["labels"] = Json::object();
  if (!port.name.empty()) out["name"] = port.name;
  return out;
}

Json definitions(const std::vector<Port>& ports, const MarathonVersion& v) {
  Json out = Json::array();
  for (const Port& port : ports) {
    Json one{{"port", port.port}, {"protocol", port.protocol}};
    if (!v.at_least(1, 5)) one["labels"] = Json::object();
    if (!port.name.empty()) one["name"] = port.name;
    out.push_back(std::move(one));
  }
  return out;
}

void add_new_networking(Json& app, const Json& spec, const MarathonVersion& v) {
  const std::string network = spec.value("network", "host");
  const auto ports = ports_of(spec);
  if (network == "host") {
    app["networks"] = Json::array({{{"mode", "host"}}});
    app["portDefinitions"] = definitions(ports, v);
    return;
  }
  Json mode{{"mode", network == "bridge" ? "container/bridge" : "container"}};
  if (network == "container") mode["name"] = "dcos";
  app["networks"] = Json::array({std::move(mode)});
  Json mappings = Json::array();
  for (const Port& port : ports) mappings.push_back(mapping(port, v, network == "container"));
  app["container"] = {{"type", "DOCKER"},
                      {"docker", {{"image", "nginx"}, {"forcePullImage", false}}},
                      {"volumes", Json::array()},
                      {"portMappings", std::move(mappings)}};
}

void add_old_networking(Json& app, const Json& spec, const MarathonVersion& v) {
  const std::string network = spec.value("network", "host");
  const auto ports = ports_of(spec);
  Json numbers = Json::array();
  for (const Port& port : ports) numbers.push_back(port.port);
  app["container"] = nullptr;
  if (network != "host") {
    Json mappings = Json::array();
    for (const Port& port : ports) mappings.push_back(mapping(port, v, network == "container"));
    app["container"] = {{"type", "DOCKER"},
                        {"volumes", Json::array()},
                        {"docker",
                         {{"image", "nginx"},
                          {"network", network == "bridge" ? "BRIDGE" : "USER"},
                          {"portMappings", std::move(mappings)}}}};
    // 0.8 copies the mappings' ports only when one of them was allocated.
    if (!v.at_least(0, 9)) numbers = Json::array({0});
  }
  if (network == "container" && v.at_least(0, 14)) {
    app["ipAddress"] = {{"groups", Json::array()}, {"labels", Json::object()}};
    app["ipAddress"]["networkName"] = "dcos";
    return;
  }
  if (v.at_least(0, 14)) app["ipAddress"] = nullptr;
  app["ports"] = std::move(numbers);
  app["requirePorts"] = spec.value("require_ports", false);
  if (v.at_least(1, 0)) app["portDefinitions"] = definitions(ports, v);
}

Json result_of(const std::string& id, bool alive, const MarathonVersion& v, std::uint64_t at) {
  Json out{{"alive", alive}, {"consecutiveFailures", alive ? 0 : 1}};
  const char* known = alive ? "lastSuccess" : "lastFailure";
  const char* unknown = alive ? "lastFailure" : "lastSuccess";
  out[known] = marathon_time(at + 5);
  if (!v.at_least(1, 6)) out[unknown] = nullptr;
  if (v.at_least(1, 4))
    out["instanceId"] = instance_of(id, v);
  else
    out["taskId"] = id;
  return out;
}

void add_addresses(Json& out, const Json& task, const MarathonVersion& v) {
  Json addresses = Json::array();
  if (task.contains("ip"))
    addresses.push_back({{"ipAddress", task.at("ip")}, {"protocol", "IPv4"}});
  const bool always = v.at_least(1, 6) || (v.at_least(0, 14) && !v.at_least(1, 0));
  if (v.at_least(0, 14) && (always || !addresses.empty())) out["ipAddresses"] = addresses;
}

Json render_task(const MarathonModel& model, const std::string& id, const Json& task, int checks) {
  const MarathonVersion& v = model.version;
  const std::string state = task.at("state");
  const std::uint64_t at = task.at("at");
  Json out{{"id", id},
           {"appId", task.at("app")},
           {"host", task.at("host")},
           {"ports", task.at("ports")},
           {"stagedAt", marathon_time(at + 1)},
           {"version", marathon_time(at)}};
  const bool started = state != "TASK_STAGING" && state != "TASK_STARTING";
  if (started || !v.at_least(1, 6)) out["startedAt"] = nullptr;
  if (started) out["startedAt"] = marathon_time(at + 2);
  if (v.at_least(0, 11)) out["slaveId"] = "S-00000000";
  if (v.at_least(1, 4)) out["state"] = state;
  add_addresses(out, task, v);
  Json results = Json::array();
  if (const auto known = model.health.find(id); known != model.health.end())
    for (int i = 0; i < checks; ++i) results.push_back(result_of(id, known->second, v, at));
  if (results.empty() && checks > 0 && !v.at_least(0, 8, 2)) results.push_back(nullptr);
  if (v.at_least(1, 6) || !results.empty()) out["healthCheckResults"] = std::move(results);
  if (v.at_least(1, 6)) {
    out["servicePorts"] = Json::array();
    out["localVolumes"] = Json::array();
  }
  if (v.at_least(1, 9)) out["role"] = "*";
  return out;
}

void add_tasks(Json& app, const MarathonModel& model, const Json& kept, const AppsQuery& query) {
  Json tasks = Json::array();
  Json readiness = Json::array();
  const bool deploying = kept.value("deploying", false);
  const int checks = kept.at("spec").value("health_checks", 0);
  for (const auto& [id, task] : kept.at("tasks").items()) {
    tasks.push_back(render_task(model, id, task, checks));
    if (deploying && kept.at("spec").value("readiness", 0) > 0)
      readiness.push_back(
          {{"name", "readinessCheck"}, {"taskId", id}, {"ready", task.value("ready", false)}});
  }
  if (query.tasks) app["tasks"] = std::move(tasks);
  if (query.readiness && model.version.at_least(1, 1))
    app["readinessCheckResults"] = std::move(readiness);
}

Json render_app(const MarathonModel& model, const std::string& id, const Json& kept,
                const AppsQuery& query) {
  const MarathonVersion& v = model.version;
  const Json& spec = kept.at("spec");
  Json app{{"id", id},
           {"cmd", spec.value("cmd", "sleep 1000")},
           {"cpus", 0.1},
           {"mem", 32},
           {"disk", 0},
           {"instances", kept.at("tasks").size()},
           {"labels", spec.value("labels", Json::object())},
           {"version", marathon_time(kept.at("at"))},
           {"deployments", Json::array()}};
  if (kept.value("deploying", false)) app["deployments"].push_back({{"id", "d1"}});
  if (!v.at_least(1, 5)) {
    app["args"] = nullptr;
    app["user"] = nullptr;
    app["uris"] = Json::array();
  }
  if (!v.at_least(0, 9)) app["storeUrls"] = Json::array();
  Json checks = Json::array();
  for (int i = 0; i < spec.value("health_checks", 0); ++i)
    checks.push_back(
        {{"protocol", "HTTP"}, {"path", "/"}, {"portIndex", 0}, {"intervalSeconds", 60}});
  if (!checks.empty() || !v.at_least(1, 5)) app["healthChecks"] = std::move(checks);
  if (spec.value("readiness", 0) > 0)
    app["readinessChecks"] = Json::array({{{"name", "readinessCheck"}, {"portName", "http"}}});
  if (v.at_least(1, 5)) {
    app["requirePorts"] = spec.value("require_ports", false);
    add_new_networking(app, spec, v);
  } else {
    add_old_networking(app, spec, v);
  }
  add_tasks(app, model, kept, query);
  return app;
}

bool selected(const Json& spec, const std::vector<std::string>& labels) {
  const Json all = spec.value("labels", Json::object());
  return std::all_of(labels.begin(), labels.end(), [&](const std::string& selector) {
    const auto equals = selector.find("==");
    const std::string key = selector.substr(0, equals);
    if (!all.contains(key)) return false;
    return equals == std::string::npos || all.at(key) == selector.substr(equals + 2);
  });
}

}  // namespace

std::string render_apps(const MarathonModel& model, const AppsQuery& query, std::size_t filler) {
  std::string out = R"({"apps":[)";
  const auto add = [&](const std::string& text) {
    if (out.back() != '[') out += ',';
    out += text;
  };
  for (const auto& [id, kept] : model.apps.items())
    // 0.8 knows no selectors.
    if (!model.version.at_least(0, 9) || selected(kept.at("spec"), query.labels))
      add(render_app(model, id, kept, query).dump());
  out.reserve(filler + 2048);
  const std::string rest = fmt::format(R"(","cmd":"{}","instances":0,"labels":{{}},"tasks":[]}})",
                                       std::string(1024, 'x'));
  for (int i = 0; out.size() < filler; ++i) add(fmt::format(R"({{"id":"/filler/{})", i) + rest);
  return out + "]}";
}

std::string render_named(const MarathonModel& model, const std::string& id) {
  const AppsQuery all{.tasks = true, .readiness = true, .labels = {}};
  return Json{{"app", render_app(model, id, model.apps.at(id), all)}}.dump();
}

}  // namespace lb::test
