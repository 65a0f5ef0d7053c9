// The apps and tasks of a fake Marathon, and what it says of them in each version. Values only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <nlohmann/json.hpp>

namespace lb::test {

using Json = nlohmann::json;

struct MarathonVersion {
  int major = 1, minor = 8, patch = 0;
  static MarathonVersion parse(const std::string& text);
  [[nodiscard]] bool at_least(int a, int b, int c = 0) const {
    return std::tie(major, minor, patch) >= std::tie(a, b, c);
  }
};

// {"/web": {"spec": {the command "app"}, "tasks": {id: {app, host, ports, ip, state, at}}, ...}}
struct MarathonModel {
  MarathonVersion version;
  bool task_killing = true;
  Json apps = Json::object();
  std::map<std::string, bool> health;  // by task; only the leader has it
  std::uint64_t counter = 0;           // for ids and times

  // The state as kept in ZooKeeper: without what a leader only remembers.
  [[nodiscard]] std::string save() const;
  void load(const std::string& text);

  // Emits what Marathon would: event type and fields.
  using Emit = std::function<void(const std::string& type, Json data)>;
  // A command that changes apps. Throws std::runtime_error. What is to be done later (the end of a
  // kill) is handed to `later`.
  using Later = std::function<void(int ms, Json command)>;
  Json run(const Json& command, const Emit& emit, const Later& later);
  [[nodiscard]] static bool knows(const std::string& command);

 private:
  Json& app(const Json& command, const char* key);
  Json& task(const Json& command);
  Json add_app(const Json& command, const Emit& emit);
  Json remove_app(const Json& command, const Emit& emit);
  Json launch(const Json& command, const Emit& emit);
  Json kill(const Json& command, const Emit& emit, const Later& later);
  Json set_state(const Json& command, const Emit& emit);
  Json set_health(const Json& command, const Emit& emit);
  void change_state(const std::string& id, const std::string& state, const Emit& emit);
  [[nodiscard]] std::string new_task_id(const std::string& app);
};

// The instance that a task belongs to.
std::string instance_of(const std::string& task, const MarathonVersion& version);
std::string marathon_time(std::uint64_t counter);

struct AppsQuery {
  bool tasks = false;               // embed=apps.tasks
  bool readiness = false;           // embed=apps.readiness
  std::vector<std::string> labels;  // of selectors "a" and "a==b"; others are ignored
};

// The body of GET /v2/apps. `filler`: apps that nobody wants, until the body has so many bytes.
std::string render_apps(const MarathonModel& model, const AppsQuery& query, std::size_t filler = 0);
// The body of GET /v2/apps/ID, of an app that is there.
std::string render_named(const MarathonModel& model, const std::string& id);

}  // namespace lb::test
