#include "marathon/rules.h"

#include <algorithm>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "base/text.h"
#include "base/words.h"
#include "marathon/labels.h"
#include "marathon/rules_task.h"

namespace lb::marathon {
namespace {

using AppRefs = std::vector<const App*>;

bool passes_label(const App& app, const Rules& rules, Warnings& warnings) {
  if (rules.label.empty()) return true;
  const auto it = app.labels.find(rules.label);
  if (it == app.labels.end()) {
    // Seen only where Marathon does not select by label, or where another one is selected for.
    const std::string_view wanted[] = {rules.label};
    for (const auto& [name, value] : app.labels)
      if (2 * name.size() >= rules.label.size() && !nearest(name, wanted).empty())
        warnings.add(app.id, fmt::format("label {} publishes nothing: did you mean {}?",
                                         printable(name, 60), rules.label));
    return false;
  }
  const std::string_view value = trim(it->second);
  if (value == "true" || value == "1") return true;
  const std::string off = lower(value);
  if (off != "false" && off != "0" && off != "no" && !off.empty())
    warnings.add(app.id, fmt::format("label {} = '{}' publishes nothing: did you mean 'true'?",
                                     rules.label, printable(it->second, 60)));
  return false;
}

bool passes_groups(const PortSettings& settings, const Rules& rules) {
  if (rules.groups.empty()) return true;
  const auto wanted = [&](std::string_view group) {
    return std::find(rules.groups.begin(), rules.groups.end(), group) != rules.groups.end();
  };
  if (!settings.groups.empty() && wanted("*")) return true;
  return std::any_of(settings.groups.begin(), settings.groups.end(), wanted);
}

// Verdicts, and what events told, for the tasks of this reading. A standby without a leader may
// answer with an empty list (0.8), and the next answer may lack all results: so verdicts of tasks
// that are missing are kept, unless they have become many.
void remember(const std::vector<App>& apps, std::size_t earlier, Memory& memory) {
  constexpr std::size_t kSpare = 10'000;
  std::set<std::string_view> present;
  for (const App& app : apps)
    for (const Task& task : app.tasks) {
      present.insert(task.id);
      if (task.health_results > 0) memory.verdicts[task.id] = task.all_alive;
      // The same id starts again: a task with a volume of its own, before 1.8.
      if (task.state == "TASK_STAGING" || task.state == "TASK_STARTING")
        memory.ended.erase(task.id);
    }
  std::erase_if(memory.ended, [&](const std::string& id) { return !present.contains(id); });
  if (memory.verdicts.size() > 2 * std::max(present.size(), earlier) + kSpare)
    std::erase_if(memory.verdicts, [&](const auto& v) { return !present.contains(v.first); });
}

// Active ones first, then those that still work. Two tasks may have one address while an answer is
// older than the end of the first.
int rank(const Backend& b) {
  if (b.state == BackendState::Active) return 0;
  return b.state == BackendState::Draining ? 1 : 2;
}

// One port of an app that is to be published.
struct Claim {
  ServiceKey key;
  std::size_t index = 0;                 // of the port
  std::optional<std::size_t> host_port;  // the task's port that belongs to it
  PortSettings settings;
};

std::vector<Claim> read_claims(const App& app, const Rules& rules,
                               std::vector<std::string>& problems) {
  std::vector<Claim> out;
  std::size_t next_host_port = 0;
  for (std::size_t index = 0; index < app.ports.size(); ++index) {
    const AppPort& port = app.ports[index];
    std::optional<std::size_t> host_port;
    if (port.has_host_port) host_port = next_host_port++;
    const PortSettings settings = read_labels(app.labels, index, problems);
    const auto number = settings.port ? settings.port : port.service_port;
    if (!settings.enabled || !passes_groups(settings, rules) || !number) continue;
    ServiceKey key{Protocol::Tcp, settings.bind.value_or(rules.publish), *number};
    if (port.tcp) out.push_back({key, index, host_port, settings});
    key.protocol = Protocol::Udp;
    if (port.udp && rules.udp) out.push_back({key, index, host_port, settings});
  }
  return out;
}

bool is_leaving(const Backend& b) {
  return b.state == BackendState::Draining && b.reason == Reason::Source;
}

bool is_alive(const Service& service) {
  return !std::all_of(service.backends.begin(), service.backends.end(), is_leaving);
}

class Publisher {
 public:
  Publisher(const Rules& rules, const TaskJudge& judge, Locator& locator, Warnings& warnings)
      : rules_(rules), judge_(judge), locator_(locator), warnings_(warnings) {}

  void publish(const App& app) {
    for (const std::string& problem : app.problems) warnings_.add(app.id, problem);
    std::vector<std::string> problems;
    check_label_names(app.labels, app.ports.size(), problems);
    for (const Claim& claim : read_claims(app, rules_, problems)) publish(app, claim);
    for (const std::string& problem : problems) warnings_.add(app.id, problem);
  }

  // One service of each key; `leaving` as in Outcome.
  [[nodiscard]] std::map<ServiceKey, Service> take(const std::map<ServiceKey, std::string>& owners,
                                                   std::vector<std::string>& leaving) {
    std::map<ServiceKey, Service> out;
    for (auto& [key, all] : candidates_) {
      const auto owner = owners.find(key);
      const std::size_t winner = choose(all, owner == owners.end() ? "" : owner->second);
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (i == winner) continue;
        warn_loser(all[i], all[winner].service);
        for (const Backend& b : all[i].service.backends)
          if (is_leaving(b)) leaving.push_back(b.id);
      }
      out.emplace(key, std::move(all[winner].service));
    }
    std::sort(leaving.begin(), leaving.end());
    return out;
  }

 private:
  struct Candidate {
    Service service;
    std::size_t index = 0;  // of the app's port
  };

  void publish(const App& app, const Claim& claim) {
    std::vector<Candidate>& all = candidates_[claim.key];
    if (!all.empty() && all.back().service.origin == app.id) {
      Candidate again;
      again.service.origin = app.id;
      again.index = claim.index;
      warn_loser(again, all.back().service);
      return;
    }
    Service service;
    service.key = claim.key;
    service.name = service_name(app.id, claim.index);
    service.balance = claim.settings.balance.value_or(Balance::LeastConn);
    service.origin = app.id;
    service.default_address = !claim.settings.bind;
    if (claim.key.protocol == Protocol::Tcp) service.check = claim.settings.check;
    service.drain_timeout = claim.settings.drain_timeout;
    service.backends = backends(app, claim.index, claim.host_port, claim.settings.weight);
    all.push_back({std::move(service), claim.index});
  }

  // By id they are sorted already.
  static std::size_t choose(const std::vector<Candidate>& all, std::string_view owner) {
    std::optional<std::size_t> mine, first_alive;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].service.origin == owner) mine = i;
      if (!first_alive && is_alive(all[i].service)) first_alive = i;
    }
    if (mine && is_alive(all[*mine].service)) return *mine;
    return first_alive ? *first_alive : mine.value_or(0);
  }

  void warn_loser(const Candidate& loser, const Service& winner) {
    warnings_.add(loser.service.origin,
                  fmt::format("port {} belongs to {} ('{}'): port index {} is not "
                              "published, give it another service port",
                              winner.key.port, printable(winner.origin, 120),
                              printable(winner.name, 120), loser.index));
  }

  // No app id has an underscore, so that this is no other app's name.
  static std::string service_name(const std::string& app, std::size_t index) {
    std::string name = app.starts_with('/') && app.size() > 1 ? app.substr(1) : app;
    if (index > 0) name += fmt::format("_{}", index);
    return name;
  }

  std::vector<Backend> backends(const App& app, std::size_t index,
                                std::optional<std::size_t> host_port, std::uint32_t weight) {
    std::vector<Backend> all;
    for (const Task& task : app.tasks) {
      const auto verdict = judge_.judge(app, task);
      if (!verdict) continue;
      const auto address = locator_.locate(app, task, app.ports[index], host_port);
      if (!address) continue;
      Backend b{task.id, task.host, *address, weight, app.id, verdict->first, verdict->second};
      if (weight == 0 && b.state == BackendState::Active) {
        b.state = BackendState::Draining;
        b.reason = Reason::Weight;
      }
      all.push_back(std::move(b));
    }
    return one_per_address(app, std::move(all));
  }

  std::vector<Backend> one_per_address(const App& app, std::vector<Backend> all) {
    std::stable_sort(all.begin(), all.end(), [](const Backend& a, const Backend& b) {
      return std::make_tuple(a.address, rank(a), std::string_view(a.id)) <
             std::make_tuple(b.address, rank(b), std::string_view(b.id));
    });
    std::vector<Backend> out;
    for (Backend& b : all) {
      if (out.empty() || out.back().address != b.address) {
        out.push_back(std::move(b));
      } else {
        const std::string& first = out.back().id;
        warnings_.add(
            app.id,
            b.id == first
                ? fmt::format("task {} is listed twice", printable(b.id, 120))
                : fmt::format("task {} has the address of task {} ({}): it is left out",
                              printable(b.id, 120), printable(first, 120), b.address.to_string()));
      }
    }
    return out;
  }

  const Rules& rules_;
  const TaskJudge& judge_;
  Locator& locator_;
  Warnings& warnings_;
  std::map<ServiceKey, std::vector<Candidate>> candidates_;
};

// By id, so that whose port it is does not depend on the order of the answer.
AppRefs published_apps(const std::vector<App>& apps, const Rules& rules, Warnings& warnings) {
  AppRefs refs;
  for (const App& app : apps)
    if (passes_label(app, rules, warnings)) refs.push_back(&app);
  std::stable_sort(refs.begin(), refs.end(),
                   [](const App* a, const App* b) { return a->id < b->id; });
  AppRefs out;
  for (const App* app : refs)
    if (out.empty() || out.back()->id != app->id)
      out.push_back(app);
    else
      warnings.add(app->id, "the app is listed twice: the first one counts");
  return out;
}

std::vector<ServicePtr> share(std::map<ServiceKey, Service> fresh,
                              const std::vector<ServicePtr>& previous) {
  std::map<ServiceKey, const ServicePtr*> known;
  for (const ServicePtr& service : previous) known.emplace(service->key, &service);
  std::vector<ServicePtr> out;
  out.reserve(fresh.size());
  for (auto& [key, service] : fresh) {
    const auto it = known.find(key);
    if (it != known.end() && **it->second == service)
      out.push_back(*it->second);
    else
      out.push_back(std::make_shared<const Service>(std::move(service)));
  }
  return out;
}

}  // namespace

std::vector<ServiceKey> claims_of(const App& app, const Rules& rules) {
  std::vector<ServiceKey> out;
  std::vector<std::string> problems;
  Warnings unsaid;  // apply_rules() says them
  if (passes_label(app, rules, unsaid))
    for (const Claim& claim : read_claims(app, rules, problems)) out.push_back(claim.key);
  std::sort(out.begin(), out.end());
  return out;
}

Outcome apply_rules(const std::vector<App>& apps, const Rules& rules, Memory& memory,
                    const Resolve& resolve, const std::vector<ServicePtr>& previous) {
  const Earlier earlier(previous);
  remember(apps, earlier.size(), memory);
  Warnings warnings;
  const TaskJudge judge(rules, memory, earlier);
  Locator locator(resolve, earlier, warnings);
  Publisher publisher(rules, judge, locator, warnings);
  for (const App* app : published_apps(apps, rules, warnings)) publisher.publish(*app);
  Outcome out;
  out.services = share(publisher.take(memory.owners, out.leaving), previous);
  out.warnings = warnings.take();
  out.names = locator.take_names();
  return out;
}

}  // namespace lb::marathon
