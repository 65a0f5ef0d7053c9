// marathon_parse: how long Marathon's answer takes from bytes to services, and how much memory. The
// answer is made here, in the shapes of 0.8 and 1.8.
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "marathon/rules.h"

namespace {

// Of the heap: what is allocated now, and the most since it was last set.
std::size_t g_live = 0;
std::size_t g_peak = 0;

void* counted(std::size_t size) {
  void* p = std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  g_live += malloc_usable_size(p);
  g_peak = std::max(g_peak, g_live);
  return p;
}

void uncounted(void* p) {
  g_live -= malloc_usable_size(p);
  std::free(p);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void operator delete(void* p) noexcept { uncounted(p); }
void operator delete(void* p, std::size_t) noexcept { uncounted(p); }

namespace {

using namespace lb::marathon;
using Clock = std::chrono::steady_clock;

constexpr double kBarMs = 200;   // of parsing 1,000 apps with 10,000 tasks
constexpr double kBarHeap = 10;  // times the size of the answer

struct Size {
  int apps = 1'000;
  int tasks = 10;  // of each app
  int rounds = 21;
};

std::string uuid(int app, int task) {
  return fmt::format("{:08x}-{:04x}-11ea-8000-0242ac11{:04x}", app * 2654435761U, task,
                     app % 65536);
}

std::string host(int app, int task) {
  return fmt::format("node-{}.example.com", (app * 7 + task) % 300);
}

std::string task_08(int app, int task) {
  const std::string id = fmt::format("group_app-{}.{}", app, uuid(app, task));
  return fmt::format(
      R"({{"id":"{0}","host":"{1}","appId":"/group/app-{2}","ports":[{3}],"stagedAt":"2020-01-01T00:00:49.000Z","startedAt":"2020-01-01T00:00:51.000Z","version":"2020-01-01T00:00:41.000Z","healthCheckResults":[{{"alive":true,"consecutiveFailures":0,"firstSuccess":"2020-01-01T00:00:47.000Z","lastSuccess":"2020-01-01T00:00:47.000Z","lastFailure":null,"taskId":"{0}"}}]}})",
      id, host(app, task), app, 31'000 + task);
}

std::string app_08(int app, const std::string& tasks) {
  return fmt::format(
      R"({{"id":"/group/app-{0}","backoffFactor":1.15,"backoffSeconds":1,"cmd":"exec java -Xmx512m -jar /opt/app/app.jar --port $PORT0","cpus":0.1,"disk":0,"executor":"","instances":10,"labels":{{"marathoner_haproxy_enabled":"1","owner":"team-{0}"}},"maxLaunchDelaySeconds":3600,"mem":512,"upgradeStrategy":{{"maximumOverCapacity":1,"minimumHealthCapacity":1}},"version":"2020-01-01T00:00:41.000Z","args":null,"user":null,"env":{{"DATABASE":"db-{0}.example.com","LOG_LEVEL":"info"}},"constraints":[["hostname","UNIQUE"]],"uris":["https://repo.example.com/app-{0}.tgz"],"storeUrls":[],"dependencies":[],"container":{{"type":"DOCKER","volumes":[],"docker":{{"image":"registry.example.com/app-{0}:1.2.3","network":"BRIDGE","portMappings":[{{"containerPort":80,"servicePort":{1},"protocol":"tcp","hostPort":0}}],"privileged":false,"parameters":[],"forcePullImage":false}}}},"healthChecks":[{{"protocol":"HTTP","path":"/health","portIndex":0,"gracePeriodSeconds":5,"intervalSeconds":10,"timeoutSeconds":10,"maxConsecutiveFailures":3}}],"requirePorts":false,"ports":[{1}],"tasksStaged":0,"tasksRunning":10,"tasksHealthy":10,"tasksUnhealthy":0,"deployments":[],"tasks":[{2}]}})",
      app, 10'000 + app, tasks);
}

std::string task_18(int app, int task) {
  const std::string instance = fmt::format("group_app-{}.instance-{}", app, uuid(app, task));
  return fmt::format(
      R"({{"id":"{0}._app.1","host":"{1}","appId":"/group/app-{2}","slaveId":"7a1f2d3c-0000-4000-8000-00000000000{3}-S{3}","state":"TASK_RUNNING","healthCheckResults":[{{"alive":true,"consecutiveFailures":0,"firstSuccess":"2020-01-01T00:00:47.000Z","instanceId":"{0}","lastSuccess":"2020-01-01T00:00:47.000Z"}}],"checkResult":null,"ipAddresses":[{{"ipAddress":"172.17.0.{3}","protocol":"IPv4"}}],"ports":[{4}],"servicePorts":[],"localVolumes":[],"stagedAt":"2020-01-01T00:00:43.000Z","version":"2020-01-01T00:00:41.000Z","startedAt":"2020-01-01T00:00:45.000Z"}})",
      instance, host(app, task), app, task % 10, 31'000 + task);
}

std::string app_18(int app, const std::string& tasks) {
  return fmt::format(
      R"({{"id":"/group/app-{0}","backoffFactor":1.15,"backoffSeconds":1,"cmd":"exec java -Xmx512m -jar /opt/app/app.jar --port $PORT0","cpus":0.1,"disk":0,"env":{{"DATABASE":"db-{0}.example.com","LOG_LEVEL":"info"}},"executor":"","fetch":[{{"uri":"https://repo.example.com/app-{0}.tgz","extract":true,"executable":false,"cache":false}}],"constraints":[["hostname","UNIQUE"]],"instances":10,"labels":{{"marathoner_haproxy_enabled":"true","owner":"team-{0}"}},"maxLaunchDelaySeconds":300,"mem":512,"gpus":0,"networks":[{{"mode":"container/bridge"}}],"container":{{"type":"DOCKER","docker":{{"forcePullImage":false,"image":"registry.example.com/app-{0}:1.2.3","parameters":[],"privileged":false}},"volumes":[],"portMappings":[{{"containerPort":80,"hostPort":0,"labels":{{"VIP_0":"/app-{0}:80"}},"protocol":"tcp","servicePort":{1},"name":"http"}}]}},"healthChecks":[{{"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"path":"/health","portIndex":0,"protocol":"MESOS_HTTP","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15}}],"requirePorts":false,"upgradeStrategy":{{"maximumOverCapacity":1,"minimumHealthCapacity":1}},"version":"2020-01-01T00:00:41.000Z","versionInfo":{{"lastScalingAt":"2020-01-01T00:00:41.000Z","lastConfigChangeAt":"2020-01-01T00:00:41.000Z"}},"killSelection":"YOUNGEST_FIRST","unreachableStrategy":{{"inactiveAfterSeconds":300,"expungeAfterSeconds":600}},"tasksStaged":0,"tasksRunning":10,"tasksHealthy":10,"tasksUnhealthy":0,"deployments":[],"tasks":[{2}]}})",
      app, 10'000 + app, tasks);
}

template <class App, class Task>
std::string answer(const Size& size, App app, Task task) {
  std::string out = R"({"apps":[)";
  for (int a = 0; a < size.apps; ++a) {
    std::string tasks;
    for (int t = 0; t < size.tasks; ++t) tasks += (t > 0 ? "," : "") + task(a, t);
    if (a > 0) out += ',';
    out += app(a, tasks);
  }
  return out + "]}";
}

struct Sample {
  double parse_ms = 0;
  double rules_ms = 0;
  double parse_heap = 0;  // times the size of the answer
  double all_heap = 0;
};

double since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

std::optional<lb::IpAddress> resolve(const std::string& name) {
  return lb::IpAddress::v4(0x0a000000U +
                           static_cast<std::uint32_t>(std::hash<std::string>{}(name) % 65'536));
}

Sample measure(const std::string& body, Memory& memory, std::vector<lb::ServicePtr>& services) {
  Sample out;
  const std::size_t before = g_live;
  g_peak = g_live;
  const auto heap = [&] {
    return static_cast<double>(g_peak - before) / static_cast<double>(body.size());
  };
  auto begin = Clock::now();
  const auto apps = parse_apps(body);
  out.parse_ms = since(begin);
  out.parse_heap = heap();
  if (!apps) std::exit((std::fputs((apps.error().message() + "\n").c_str(), stderr), 1));
  begin = Clock::now();
  Outcome outcome = apply_rules(*apps, {}, memory, resolve, services);
  out.rules_ms = since(begin);
  out.all_heap = heap();
  services = std::move(outcome.services);
  return out;
}

std::string spread(std::vector<Sample> samples, double Sample::*field) {
  std::sort(samples.begin(), samples.end(),
            [&](const Sample& a, const Sample& b) { return a.*field < b.*field; });
  return fmt::format("{:.1f} / {:.1f} / {:.1f}", samples.front().*field,
                     samples[samples.size() / 2].*field, samples.back().*field);
}

// Does its median parse within the bars?
bool report(std::string_view shape, const std::string& body, const Size& size) {
  Memory memory;
  std::vector<lb::ServicePtr> services;
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(size.rounds));
  for (int i = 0; i < size.rounds; ++i) samples.push_back(measure(body, memory, services));
  fmt::print("{:<6} {:>6.2f} {:>9}   {:<22} {:<22} {:.2f} / {:.2f}\n", shape,
             static_cast<double>(body.size()) / 1e6, services.size(),
             spread(samples, &Sample::parse_ms), spread(samples, &Sample::rules_ms),
             samples.front().parse_heap, samples.front().all_heap);
  std::sort(samples.begin(), samples.end(),
            [](const Sample& a, const Sample& b) { return a.parse_ms < b.parse_ms; });
  return samples[samples.size() / 2].parse_ms <= kBarMs && samples.front().all_heap <= kBarHeap;
}

bool read_number(std::string_view text, int& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc{} && end == text.data() + text.size() && out > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Size size;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    int* target = option == "--apps"     ? &size.apps
                  : option == "--tasks"  ? &size.tasks
                  : option == "--rounds" ? &size.rounds
                                         : nullptr;
    if (target == nullptr || !read_number(argv[i + 1], *target)) argc = 0;
  }
  if (argc % 2 == 0) {
    std::fputs("usage: marathon_parse [--apps 1000] [--tasks PER_APP] [--rounds 21]\n", stderr);
    return 2;
  }
  fmt::print("{:<6} {:>6} {:>9}   {:<22} {:<22} {}\n", "shape", "MB", "services",
             "parse ms min/med/max", "rules ms min/med/max", "peak heap / answer: parse, + rules");
  const bool old_one = report("0.8", answer(size, app_08, task_08), size);
  const bool new_one = report("1.8", answer(size, app_18, task_18), size);
  fmt::print("bar: parse {} ms, heap {} times the answer: {}\n", kBarMs, kBarHeap,
             old_one && new_one ? "met" : "MISSED");
  return old_one && new_one ? 0 : 1;
}
