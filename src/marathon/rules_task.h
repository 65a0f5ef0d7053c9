// What one task is to its service: listed or not, in which state, at which address. A part of
// rules.cpp.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/rules.h"

namespace lb::marathon {

// Warnings of one outcome: none twice, and not without end.
class Warnings {
 public:
  void add(const std::string& app, std::string_view sentence);
  [[nodiscard]] std::vector<std::string> take();

 private:
  std::vector<std::string> all_;
  std::set<std::string> seen_;
};

// Backends of the last outcome by their task.
class Earlier {
 public:
  explicit Earlier(const std::vector<ServicePtr>& services);
  [[nodiscard]] bool was_in_use(const App& app, const Task& task) const;
  // Where this task's host was when it was resolved last.
  [[nodiscard]] std::optional<IpAddress> address(const App& app, const Task& task, Port port) const;
  [[nodiscard]] std::size_t size() const { return by_task_.size(); }

 private:
  std::unordered_multimap<std::string_view, const Backend*> by_task_;
};

class TaskJudge {
 public:
  using Verdict = std::pair<BackendState, Reason>;

  TaskJudge(const Rules& rules, const Memory& memory, const Earlier& earlier)
      : rules_(rules), memory_(memory), earlier_(earlier) {}
  // nullopt: the task is not listed at all.
  [[nodiscard]] std::optional<Verdict> judge(const App& app, const Task& task) const;

 private:
  enum class Health { Good, Bad, Unknown };
  [[nodiscard]] Health health(const App& app, const Task& task) const;

  const Rules& rules_;
  const Memory& memory_;
  const Earlier& earlier_;
};

class Locator {
 public:
  Locator(const Resolve& resolve, const Earlier& earlier, Warnings& warnings)
      : resolve_(resolve), earlier_(earlier), warnings_(warnings) {}
  // nullopt: not to be reached at this port of its app. `host_port` is the index in task.ports.
  [[nodiscard]] std::optional<Address> locate(const App& app, const Task& task, const AppPort& port,
                                              std::optional<std::size_t> host_port);
  [[nodiscard]] std::set<std::string> take_names() { return std::move(names_); }

 private:
  [[nodiscard]] std::optional<Address> on_host(const App& app, const Task& task, Port port);
  [[nodiscard]] std::optional<Address> in_container(const App& app, const Task& task, Port port);
  [[nodiscard]] std::optional<IpAddress> host_address(const std::string& host);

  const Resolve& resolve_;
  const Earlier& earlier_;
  Warnings& warnings_;
  std::set<std::string> names_;
  std::map<std::string, std::optional<IpAddress>> known_;  // hosts repeat
};

}  // namespace lb::marathon
