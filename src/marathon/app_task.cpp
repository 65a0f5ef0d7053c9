#include "marathon/app_task.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/text.h"

namespace lb::marathon {
namespace {

constexpr std::size_t kMaxProblems = 20;  // of one app

// JSON knows one kind of number: 8080.0 and 8.08e3 are 8080.
std::optional<long long> whole_number(std::string_view text) {
  const char* end = text.data() + text.size();
  long long whole = 0;
  if (const auto read = std::from_chars(text.data(), end, whole);
      read.ec == std::errc{} && read.ptr == end)
    return whole;
  double number = 0;
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  if (std::fabs(number) > 1e15 || number != std::floor(number)) return std::nullopt;
  return static_cast<long long>(number);
}

std::vector<std::optional<Port>> read_ports(JsonReader& in, std::vector<std::string>& problems) {
  std::vector<std::optional<Port>> ports;
  in.array([&] {
    in.keep(3 * sizeof ports[0]);
    ports.push_back(read_port(in, fmt::format("ports[{}]", ports.size()), problems));
  });
  return ports;
}

std::vector<std::string> read_addresses(JsonReader& in) {
  std::vector<std::string> addresses;
  in.array([&] {
    in.object([&](std::string_view key) {
      if (key != "ipAddress") return;
      auto text = in.string();
      if (!text || text->empty()) return;
      in.keep(3 * sizeof *text);
      addresses.push_back(std::move(*text));
    });
  });
  return addresses;
}

// Null entries were placeholders for "no result yet" in 0.8.0 and 0.8.1.
void read_health_results(JsonReader& in, Task& task) {
  task.health_results = 0;
  task.all_alive = true;
  in.array([&] {
    std::optional<bool> alive;
    in.object([&](std::string_view key) {
      if (key == "alive") alive = in.boolean();
    });
    if (!alive) return;
    ++task.health_results;
    task.all_alive = task.all_alive && *alive;
  });
}

}  // namespace

void add_problem(std::vector<std::string>& problems, std::string sentence) {
  if (problems.size() < kMaxProblems)
    problems.push_back(std::move(sentence));
  else if (problems.size() == kMaxProblems)
    problems.emplace_back("there is more of this kind, which is not listed");
}

std::optional<Port> read_port(JsonReader& in, std::string_view what,
                              std::vector<std::string>& problems) {
  const JsonReader::Kind kind = in.peek();
  const std::string_view raw = in.skip();
  if (in.failed() || kind == JsonReader::Kind::Null) return std::nullopt;
  const auto number =
      kind == JsonReader::Kind::Number ? whole_number(raw) : std::optional<long long>{};
  if (number && *number > 0 && *number <= 65535) return static_cast<Port>(*number);
  if (!number || *number != 0)
    add_problem(problems, fmt::format("{} is {}, which is no port (1 to 65535): it is left out",
                                      what, printable(raw, 40)));
  return std::nullopt;
}

std::optional<Task> read_task(JsonReader& in, std::vector<std::string>& problems) {
  if (in.peek() != JsonReader::Kind::Object) return std::nullopt;
  Task task;
  std::vector<std::string> own;
  in.object([&](std::string_view key) {
    if (key == "id")
      task.id = in.string().value_or("");
    else if (key == "host")
      task.host = in.string().value_or("");
    else if (key == "state")
      task.state = in.string().value_or("");
    else if (key == "ports")
      task.ports = read_ports(in, own);
    else if (key == "ipAddresses")
      task.addresses = read_addresses(in);
    else if (key == "startedAt")
      task.started = !in.string().value_or("").empty();
    else if (key == "healthCheckResults")
      read_health_results(in, task);
  });
  if (task.id.empty()) {
    add_problem(problems, "a task without id is left out");
    return std::nullopt;
  }
  for (const std::string& problem : own)
    add_problem(problems, fmt::format("task {}: {}", printable(task.id, 120), problem));
  return task;
}

}  // namespace lb::marathon
