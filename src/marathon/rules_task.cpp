#include "marathon/rules_task.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"
#include "model/host_address.h"

namespace lb::marathon {
namespace {

constexpr std::size_t kMaxWarnings = 200;  // they are shown to people, and saved with the snapshot
constexpr std::size_t kNameLength = 120;

enum class Life { Runs, Ends, Lost, Not };

Life life_of(const Task& task) {
  if (task.state.empty()) return task.started ? Life::Runs : Life::Not;  // before 1.4
  if (task.state == "TASK_RUNNING") return Life::Runs;
  if (task.state == "TASK_KILLING") return Life::Ends;
  if (task.state == "TASK_UNREACHABLE" || task.state == "TASK_LOST") return Life::Lost;
  return Life::Not;
}

std::string name_of(const Task& task) {
  return fmt::format("task {}", printable(task.id, kNameLength));
}

}  // namespace

void Warnings::add(const std::string& app, std::string_view sentence) {
  std::string text = fmt::format("{}: {}", printable(app, kNameLength), sentence);
  if (seen_.insert(text).second) all_.push_back(std::move(text));
}

std::vector<std::string> Warnings::take() {
  if (all_.size() > kMaxWarnings) {
    const std::size_t more = all_.size() - kMaxWarnings;
    all_.resize(kMaxWarnings);
    all_.push_back(fmt::format("... and {} more", more));
  }
  return std::move(all_);
}

Earlier::Earlier(const std::vector<ServicePtr>& services) {
  for (const ServicePtr& service : services)
    for (const Backend& backend : service->backends) by_task_.emplace(backend.id, &backend);
}

bool Earlier::was_in_use(const App& app, const Task& task) const {
  const auto [begin, end] = by_task_.equal_range(task.id);
  return std::any_of(begin, end, [&](const auto& entry) {
    const Backend& b = *entry.second;
    if (b.origin != app.id) return false;
    return b.state == BackendState::Active ||
           (b.state == BackendState::Draining && b.reason == Reason::Weight);
  });
}

std::optional<IpAddress> Earlier::address(const App& app, const Task& task, Port port) const {
  const auto [begin, end] = by_task_.equal_range(task.id);
  const auto it = std::find_if(begin, end, [&](const auto& entry) {
    const Backend& b = *entry.second;
    return b.origin == app.id && b.address.port == port && b.host == task.host;
  });
  if (it == end) return std::nullopt;
  return it->second->address.ip;
}

// After a change of leader all results of Marathon's own checks are missing until each has run once, so
// no result means: as before. One of several checks without a result does not count, as in Marathon.
TaskJudge::Health TaskJudge::health(const App& app, const Task& task) const {
  if (task.health_results > 0) return task.all_alive ? Health::Good : Health::Bad;
  if (!app.has_health_checks) return Health::Good;
  if (const auto it = memory_.verdicts.find(task.id); it != memory_.verdicts.end())
    return it->second ? Health::Good : Health::Bad;
  if (earlier_.was_in_use(app, task)) return Health::Good;
  return rules_.health_unknown == HealthUnknown::Healthy ? Health::Good : Health::Unknown;
}

std::optional<TaskJudge::Verdict> TaskJudge::judge(const App& app, const Task& task) const {
  Life life = life_of(task);
  if (life == Life::Not) return std::nullopt;
  if (memory_.ended.contains(task.id)) life = Life::Ends;
  if (life == Life::Lost && rules_.unreachable == Unreachable::Drop) return std::nullopt;
  const Health health = this->health(app, task);
  // First: what is known to be bad is no last resort either.
  if (health == Health::Bad) return Verdict{BackendState::Down, Reason::SourceUnhealthy};
  if (life == Life::Ends) return Verdict{BackendState::Draining, Reason::Source};
  if (life == Life::Lost && rules_.unreachable == Unreachable::LastResort)
    return Verdict{BackendState::Down, Reason::Unreachable};
  if (task.not_ready || health == Health::Unknown)
    return Verdict{BackendState::Down, Reason::NotVerified};
  return Verdict{BackendState::Active, Reason::None};
}

std::optional<Address> Locator::locate(const App& app, const Task& task, const AppPort& port,
                                       std::optional<std::size_t> host_port) {
  if (!host_port) {
    if (!port.container_port) return std::nullopt;
    return in_container(app, task, *port.container_port);
  }
  // Fewer than the app has: the task is of an older version of it.
  if (*host_port >= task.ports.size() || !task.ports[*host_port]) return std::nullopt;
  return on_host(app, task, *task.ports[*host_port]);
}

std::optional<Address> Locator::on_host(const App& app, const Task& task, Port port) {
  auto ip = host_address(task.host);
  if (!ip) ip = earlier_.address(app, task, port);
  if (ip && why_no_host(*ip).empty()) return Address{*ip, port};
  warnings_.add(app.id,
                task.host.empty()
                    ? fmt::format("{} has no host: it is left out", name_of(task))
                    : fmt::format("{}: host '{}' has no address that one can connect to: it "
                                  "is left out",
                                  name_of(task), printable(task.host, kNameLength)));
  return std::nullopt;
}

std::optional<Address> Locator::in_container(const App& app, const Task& task, Port port) {
  for (const std::string& text : task.addresses)
    if (const auto ip = IpAddress::parse(text); ip && why_no_host(*ip).empty())
      return Address{*ip, port};
  // An agent that is lost, and a task that ends, may have none any more.
  if (life_of(task) != Life::Runs) return std::nullopt;
  warnings_.add(
      app.id,
      task.addresses.empty()
          ? fmt::format("{} has no address of its own (ipAddresses): it is left out", name_of(task))
          : fmt::format("{}: '{}' is no address that one can connect to: it is left out",
                        name_of(task), printable(task.addresses.front(), 60)));
  return std::nullopt;
}

std::optional<IpAddress> Locator::host_address(const std::string& host) {
  if (host.empty()) return std::nullopt;
  const auto [it, fresh] = known_.try_emplace(host);
  if (!fresh) return it->second;
  if (const auto ip = IpAddress::parse(host)) {
    it->second = *ip;
  } else {
    names_.insert(host);
    if (resolve_) it->second = resolve_(host);
  }
  return it->second;
}

}  // namespace lb::marathon
