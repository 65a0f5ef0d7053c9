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
  outcome_ = apply_rules(apps_, rules_, memory_, resolve, before);
  compare(before, now);
  return outcome_;
}

void View::compare(const std::vector<ServicePtr>& before, TimePoint now) {
  std::erase_if(missing_, [&](const auto& one) {
    const Service* service = find(outcome_.services, one.first.first);
    return service != nullptr && has(service->backends, one.first.second);
  });
  for (const ServicePtr& old : before) {
    const Service* service = find(outcome_.services, old->key);
    if (service == old.get()) continue;
    for (const Backend& backend : old->backends) {
      if (service != nullptr && has(service->backends, backend.address)) continue;
      if (gone_.contains(backend.id)) continue;
      const auto [it, fresh] =
          missing_.try_emplace(Id{old->key, backend.address}, Missing{backend.id, now});
      new_loss_ = new_loss_ || fresh;
    }
  }
}

std::vector<std::string> View::gone() const {
  std::vector<std::string> out;
  for (const auto& [id, at] : gone_)
    if (!tasks_.contains(id)) out.push_back(id);
  return out;
}

}  // namespace lb::marathon
