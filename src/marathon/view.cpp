#include "marathon/view.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace lb::marathon {
namespace {

using Fate = EventHint::Fate;

// Of a Marathon that ends tasks without end: the oldest go.
constexpr std::size_t kMostGone = 100'000;
// A restart tells itself within a moment of the end, out of order only within less.
constexpr std::chrono::seconds kOutOfOrder{2};

bool has(const std::vector<Backend>& all, const Address& address) {
  const auto it =
      std::lower_bound(all.begin(), all.end(), address,
                       [](const Backend& b, const Address& a) { return b.address < a; });
  return it != all.end() && it->address == address;
}

const Service* find(const std::vector<ServicePtr>& all, const ServiceKey& key) {
  const auto it =
      std::lower_bound(all.begin(), all.end(), key,
                       [](const ServicePtr& s, const ServiceKey& k) { return s->key < k; });
  return it != all.end() && (*it)->key == key ? it->get() : nullptr;
}

}  // namespace

View::View(Rules rules, const std::vector<ServicePtr>& saved) : rules_(std::move(rules)) {
  outcome_.services = saved;
  in_force_ = saved;
  for (const ServicePtr& service : saved)
    for (const Backend& backend : service->backends)
      if (backend.state == BackendState::Active) memory_.verdicts.emplace(backend.id, true);
}

void View::index() {
  tasks_.clear();
  for (const App& app : apps_)
    for (const Task& task : app.tasks) tasks_.insert(task.id);
}

bool View::apply(const EventHint& hint, TimePoint now) {
  if (hint.kind == EventHint::Kind::LostMesos) lost_since_ = std::min(lost_since_, now);
  if (hint.kind == EventHint::Kind::FoundMesos) forget_mesos();
  if (hint.fate == Fate::None) return false;
  const bool dirty = std::exchange(dirty_, false);
  if (!hint.task.empty()) {
    end(hint.task, hint.fate, now);
  } else {
    for (const App& app : apps_)
      for (const Task& task : app.tasks)
        if (hint.instance.empty() ? app.id == hint.app : is_of_instance(task.id, hint.instance))
          end(task.id, hint.fate, now);
  }
  const bool changed = dirty_;
  dirty_ = dirty_ || dirty;
  return changed;
}

void View::end(const std::string& task, Fate fate, TimePoint now) {
  const bool known = tasks_.contains(task);
  if (fate == Fate::Starts) {
    const auto it = gone_.find(task);
    if (it == gone_.end() || now - it->second < kOutOfOrder) return;
    gone_.erase(it);
    dirty_ = dirty_ || memory_.ended.erase(task) > 0;
    return;
  }
  if (fate == Fate::Gone) {
    gone_.emplace(task, now);
    if (gone_.size() > kMostGone)
      gone_.erase(std::min_element(gone_.begin(), gone_.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      }));
    if (std::erase_if(missing_, [&](const auto& one) { return one.second.task == task; }) > 0)
      dirty_ = explained_ = true;
  }
  if (known && memory_.ended.insert(task).second) dirty_ = true;
}

Result<> View::replace(std::vector<App> apps, TimePoint now) {
  if (has_read_ && lost_since_ <= now && now - lost_since_ < kLostStands) {
    std::set<std::string_view> there;
    for (const App& app : apps)
      for (const Task& task : app.tasks) there.insert(task.id);
    const auto lacking = std::count_if(tasks_.begin(), tasks_.end(), [&](std::string_view id) {
      return !there.contains(id) && !gone_.contains(std::string(id));
    });
    if (lacking > 0)
      return fail(
          fmt::format("Marathon has lost Mesos, and {} of {} tasks are missing in its "
                      "answer: not believed",
                      lacking, tasks_.size()));
  }
  apps_ = std::move(apps);
  index();
  has_read_ = dirty_ = true;
  return {};
}

void View::forget_old(TimePoint now) {
  for (auto it = gone_.begin(); it != gone_.end();) {
    if (now - it->second < kGoneStands) {
      if (tasks_.contains(it->first)) memory_.ended.insert(it->first);
      ++it;
    } else {
      memory_.ended.erase(it->first);
      it = gone_.erase(it);
    }
  }
  std::erase_if(missing_, [&](const auto& one) {
    return now - one.second.since >= kMissingStands || gone_.contains(one.second.task);
  });
}

const Outcome& View::build(const Resolve& resolve, TimePoint now) {
  forget_old(now);
  dirty_ = false;
  const std::vector<ServicePtr> before = std::move(outcome_.services);
  memory_.owners.clear();
  for (const ServicePtr& service : in_force_)
    memory_.owners.emplace_hint(memory_.owners.end(), service->key, service->origin);
  outcome_ = apply_rules(apps_, rules_, memory_, resolve, before);
  compare(before, now);
  return outcome_;
}

void View::compare(const std::vector<ServicePtr>& before, TimePoint now) {
  std::erase_if(given_up_, [&](const Holding& one) {
    const Service* service = find(outcome_.services, one.first);
    const Service* used = find(in_force_, one.first);
    return (service != nullptr && service->origin == one.second) ||  // it is back
           used == nullptr || used->origin != one.second;            // it has gone
  });
  std::erase_if(missing_, [&](const auto& one) {
    const Service* service = find(outcome_.services, one.first.first);
    return service != nullptr && has(service->backends, one.first.second);
  });
  for (const ServicePtr& old : before) {
    const Service* service = find(outcome_.services, old->key);
    if (service == old.get() || given_up(*old)) continue;
    for (const Backend& backend : old->backends) {
      if (service != nullptr && has(service->backends, backend.address)) continue;
      if (gone_.contains(backend.id) || is_leaving(backend.id)) continue;
      const auto [it, fresh] =
          missing_.try_emplace(Id{old->key, backend.address}, Missing{backend.id, now});
      new_loss_ = new_loss_ || fresh;
    }
  }
}

bool View::claims_nothing() const {
  return std::all_of(apps_.begin(), apps_.end(),
                     [&](const App& app) { return claims_of(app, rules_).empty(); });
}

std::vector<std::string> View::doubtful_apps() const {
  std::map<std::string_view, const App*> listed;
  for (const App& app : apps_) listed.emplace(app.id, &app);
  std::map<std::string, std::vector<ServiceKey>> claims;
  std::set<std::string> out;
  for (const ServicePtr& service : in_force_) {
    // Without origin: of which app it was is not known.
    if (service->backends.empty() || service->origin.empty() || given_up(*service) ||
        out.contains(service->origin))
      continue;
    const auto app = listed.find(service->origin);
    if (app == listed.end()) {
      out.insert(service->origin);
      continue;
    }
    const auto [it, fresh] = claims.try_emplace(service->origin);
    if (fresh) it->second = claims_of(*app->second, rules_);
    if (!std::binary_search(it->second.begin(), it->second.end(), service->key))
      out.insert(service->origin);
  }
  return {out.begin(), out.end()};
}

bool View::is_only_app(const std::string& id) const {
  return std::all_of(in_force_.begin(), in_force_.end(),
                     [&](const ServicePtr& service) { return service->origin == id; });
}

void View::named(const std::string& id, std::optional<App> app) {
  if (!app && claims_nothing() && !is_only_app(id)) return;
  std::vector<ServiceKey> claimed;
  if (app) claimed = claims_of(*app, rules_);
  for (const ServicePtr& service : in_force_) {
    if (service->origin != id) continue;
    if (std::binary_search(claimed.begin(), claimed.end(), service->key)) continue;
    given_up_.emplace(service->key, id);
    std::erase_if(missing_, [&](const auto& one) { return one.first.first == service->key; });
    dirty_ = explained_ = true;
  }
  if (claimed.empty()) return;
  // The reading was short.
  const auto at =
      std::find_if(apps_.begin(), apps_.end(), [&](const App& one) { return one.id == id; });
  if (at != apps_.end())
    *at = *std::move(app);
  else
    apps_.push_back(*std::move(app));
  index();
  dirty_ = true;
}

std::vector<std::string> View::gone() const {
  std::vector<std::string> out = outcome_.leaving;
  for (const auto& [id, at] : gone_)
    if (!tasks_.contains(id)) out.push_back(id);
  for (const ServicePtr& service : in_force_)
    if (given_up(*service))
      for (const Backend& backend : service->backends) out.push_back(backend.id);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace lb::marathon
