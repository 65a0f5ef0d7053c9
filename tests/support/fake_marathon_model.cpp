#include "support/fake_marathon_model.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

namespace lb::test {
namespace {

const std::set<std::string> kTerminal{"TASK_KILLED",  "TASK_FAILED", "TASK_FINISHED", "TASK_ERROR",
                                      "TASK_DROPPED", "TASK_GONE",   "TASK_LOST"};

bool silent(const Json& command) { return command.value("silent", false); }

}  // namespace

MarathonVersion MarathonVersion::parse(const std::string& text) {
  MarathonVersion out{0, 0, 0};
  if (std::sscanf(text.c_str(), "%d.%d.%d", &out.major, &out.minor, &out.patch) < 2)
    throw std::runtime_error("not a version of Marathon: " + text);
  return out;
}

std::string marathon_time(std::uint64_t counter) {
  return fmt::format("2020-01-{:02}T{:02}:{:02}:{:02}.000Z", 1 + counter / 86400 % 28,
                     counter / 3600 % 24, counter / 60 % 60, counter % 60);
}

std::string instance_of(const std::string& task, const MarathonVersion& version) {
  if (version.at_least(1, 8)) return task.substr(0, task.rfind("._app."));
  const auto dot = task.rfind('.');
  return task.substr(0, dot) + ".marathon-" + task.substr(dot + 1);
}

std::string MarathonModel::save() const {
  return Json{{"apps", apps}, {"counter", counter}}.dump();
}

void MarathonModel::load(const std::string& text) {
  const Json all = Json::parse(text);
  apps = all.at("apps");
  counter = all.at("counter");
  health.clear();
}

bool MarathonModel::knows(const std::string& command) {
  static const std::set<std::string> kAll{"app",   "remove_app",    "launch", "kill",
                                          "state", "health",        "ready",  "deploying",
                                          "emit",  "unhealthy_kill"};
  return kAll.contains(command);
}

Json MarathonModel::run(const Json& command, const Emit& emit_all, const Later& later) {
  const std::string what = command.at("do");
  const Emit emit = silent(command) ? [](const std::string&, const Json&) {} : emit_all;
  if (what == "app") return add_app(command, emit);
  if (what == "remove_app") return remove_app(command, emit);
  if (what == "launch") return launch(command, emit);
  if (what == "kill") return kill(command, emit, later);
  if (what == "state") return set_state(command, emit);
  if (what == "health") return set_health(command, emit);
  if (what == "ready") {
    task(command)["ready"] = command.at("ready");
  } else if (what == "deploying") {
    app(command, "app")["deploying"] = command.at("on");
    emit(command.at("on").get<bool>() ? "deployment_info" : "deployment_success",
         {{"plan", {{"id", "d1"}, {"steps", Json::array()}}}, {"id", "d1"}});
  } else if (what == "unhealthy_kill") {
    const std::string id = command.at("task");
    emit("unhealthy_task_kill_event", {{"appId", task(command).at("app")},
                                       {"taskId", id},
                                       {"instanceId", instance_of(id, version)},
                                       {"version", marathon_time(counter)},
                                       {"reason", ""},
                                       {"host", task(command).at("host")}});
    change_state(id, "TASK_KILLED", emit);
  } else if (what == "emit") {
    emit(command.at("event"), command.value("data", Json::object()));
  }
  return Json::object();
}

Json& MarathonModel::app(const Json& command, const char* key) {
  const std::string id = command.at(key);
  if (!apps.contains(id)) throw std::runtime_error("no app " + id);
  return apps[id];
}

Json& MarathonModel::task(const Json& command) {
  const std::string id = command.at("task");
  for (Json& one : apps)
    if (one["tasks"].contains(id)) return one["tasks"][id];
  throw std::runtime_error("no task " + id);
}

Json MarathonModel::add_app(const Json& command, const Emit& emit) {
  const std::string id = command.at("id");
  if (!id.starts_with('/')) throw std::runtime_error("the id of an app starts with a slash: " + id);
  if (!apps.contains(id)) apps[id] = {{"tasks", Json::object()}, {"deploying", false}};
  apps[id]["spec"] = command;
  apps[id]["at"] = ++counter;
  emit("api_post_event", {{"clientIp", "10.0.0.9"},
                          {"uri", "/v2/apps/" + id},
                          {"appDefinition", {{"id", id}, {"version", marathon_time(counter)}}}});
  emit("group_change_success", {{"groupId", "/"}, {"version", marathon_time(counter)}});
  return Json::object();
}

Json MarathonModel::remove_app(const Json& command, const Emit& emit) {
  const std::string id = command.at("id");
  std::vector<std::string> ids;
  for (const auto& [task_id, task] : app(command, "id")["tasks"].items()) ids.push_back(task_id);
  for (const std::string& task_id : ids) change_state(task_id, "TASK_KILLED", emit);
  apps.erase(id);
  emit("app_terminated_event", {{"appId", id}});
  emit("group_change_success", {{"groupId", "/"}, {"version", marathon_time(++counter)}});
  return Json::object();
}

std::string MarathonModel::new_task_id(const std::string& app) {
  std::string name = app.substr(1);
  std::replace(name.begin(), name.end(), '/', '_');
  const auto uuid = fmt::format("00000000-0000-11ea-8000-{:012x}", ++counter);
  if (version.at_least(1, 8)) return fmt::format("{}.instance-{}._app.1", name, uuid);
  return fmt::format("{}.{}", name, uuid);
}

Json MarathonModel::launch(const Json& command, const Emit& emit) {
  Json& owner = app(command, "app");
  std::string id;
  std::vector<int> ports = command.value("ports", std::vector<int>{});
  for (int i = 0; i < command.value("count", 1); ++i) {
    id = new_task_id(command.at("app"));
    Json& task = owner["tasks"][id] = command;
    task["ports"] = ports;
    task["at"] = counter;
    task["state"] = "TASK_STAGING";
    if (command.contains("alive") && command["alive"].is_boolean()) health[id] = command["alive"];
    change_state(id, command.value("state", "TASK_RUNNING"), emit);
    for (int& port : ports) ++port;
  }
  return {{"task", id}};
}

void MarathonModel::change_state(const std::string& id, const std::string& state,
                                 const Emit& emit) {
  Json& one = task({{"task", id}});
  one["state"] = state;
  Json data{{"slaveId", "S-00000000"},  {"taskId", id},
            {"taskStatus", state},      {"message", ""},
            {"appId", one.at("app")},   {"host", one.at("host")},
            {"ports", one.at("ports")}, {"version", marathon_time(one.at("at"))}};
  if (version.at_least(0, 15)) data["ipAddresses"] = Json::array();
  const std::string app_id = one.at("app");
  if (kTerminal.contains(state)) {
    apps[app_id]["tasks"].erase(id);
    health.erase(id);
  }
  emit("status_update_event", std::move(data));
  if (version.at_least(1, 4))
    emit("instance_changed_event",
         {{"instanceId", instance_of(id, version)}, {"condition", state}, {"runSpecId", app_id}});
}

Json MarathonModel::kill(const Json& command, const Emit& emit, const Later& later) {
  const std::string id = command.at("task");
  (void)task(command);
  const int ms = command.value("ms", 0);
  if (ms == 0) {
    change_state(id, "TASK_KILLED", emit);
    return Json::object();
  }
  // Without the feature it stays TASK_RUNNING until it is gone.
  if (task_killing && version.at_least(1, 0)) change_state(id, "TASK_KILLING", emit);
  Json end{{"do", "kill"}, {"task", id}, {"silent", silent(command)}};
  later(ms, std::move(end));
  return Json::object();
}

Json MarathonModel::set_state(const Json& command, const Emit& emit) {
  change_state(command.at("task"), command.at("state"), emit);
  return Json::object();
}

Json MarathonModel::set_health(const Json& command, const Emit& emit) {
  const std::string id = command.at("task");
  const Json& one = task(command);
  const Json& alive = command.at("alive");
  health.erase(id);
  if (alive.is_null()) return Json::object();
  health[id] = alive.get<bool>();
  Json data{{"appId", one.at("app")}, {"version", marathon_time(one.at("at"))}, {"alive", alive}};
  if (version.at_least(1, 4))
    data["instanceId"] = instance_of(id, version);
  else
    data["taskId"] = id;
  emit("health_status_changed_event", std::move(data));
  if (version.at_least(1, 4))
    emit("instance_health_changed_event", {{"instanceId", instance_of(id, version)},
                                           {"runSpecId", one.at("app")},
                                           {"runSpecVersion", marathon_time(one.at("at"))},
                                           {"healthy", alive}});
  return Json::object();
}

}  // namespace lb::test
