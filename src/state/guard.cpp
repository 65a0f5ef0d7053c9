#include "state/guard.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/time.h"

namespace lb {
namespace {

std::size_t count_backends(const Snapshot& snapshot) {
  std::size_t count = 0;
  for (const ServicePtr& service : snapshot.services) count += service->backends.size();
  return count;
}

bool by_address(const Backend& a, const Backend& b) { return a.address < b.address; }

bool has_backend(const Service& service, const Address& address) {
  const auto& all = service.backends;
  const auto found =
      std::lower_bound(all.begin(), all.end(), address,
                       [](const Backend& b, const Address& a) { return b.address < a; });
  return found != all.end() && found->address == address;
}

// For looking up increasing keys in a sorted list, in one pass.
class Cursor {
 public:
  explicit Cursor(const std::vector<ServicePtr>& services) : services_(services) {}

  ServicePtr find(const ServiceKey& key) {
    while (next_ < services_.size() && services_[next_]->key < key) ++next_;
    return next_ < services_.size() && services_[next_]->key == key ? services_[next_] : nullptr;
  }

 private:
  const std::vector<ServicePtr>& services_;
  std::size_t next_ = 0;
};

}  // namespace

void Guard::restore(Snapshot accepted) {
  accepted_ = std::move(accepted);
  reading_.reset();
  held_.clear();
  passed_.clear();
}

std::map<Guard::Id, Guard::Absent> Guard::missing_from(const Snapshot& next, TimePoint now) const {
  std::map<Id, Absent> missing;
  Cursor there(next.services);
  for (const ServicePtr& before : accepted_->services) {
    const ServicePtr after = there.find(before->key);
    if (after == before) continue;
    for (const Backend& backend : before->backends) {
      if (after && has_backend(*after, backend.address)) continue;
      if (std::binary_search(next.gone.begin(), next.gone.end(), backend.id)) continue;
      const Id id{before->key, backend.address};
      const auto known = held_.find(id);
      missing.emplace(id,
                      Absent{backend, before, known != held_.end() ? known->second.since : now});
    }
  }
  return missing;
}

bool Guard::implausible(std::size_t missing) const {
  if (missing >= 2 && missing >= baseline_) return true;
  return missing >= options_.min_missing && missing * 100 > baseline_ * options_.max_loss_percent;
}

// Those that are old, and those that are back.
void Guard::forget_passed(const Snapshot& next, TimePoint now) {
  Cursor there(next.services);
  ServicePtr service;
  for (auto it = passed_.begin(); it != passed_.end();) {
    const auto& [key, address] = it->first;
    if (!service || service->key != key) service = there.find(key);
    const bool back = service && has_backend(*service, address);
    it = back || now - it->second.since >= options_.confirm ? passed_.erase(it) : std::next(it);
  }
}

Guard::Verdict Guard::admit(const Snapshot& next, TimePoint now) {
  Verdict verdict;
  std::map<Id, Absent> hold;
  if (accepted_) {
    const bool guarded = next.absence == Absence::Guarded;
    forget_passed(next, now);
    if (held_.empty()) baseline_ = count_backends(*accepted_) + passed_.size();
    std::map<Id, Absent> missing = missing_from(next, now);
    const bool suspicious = implausible(missing.size() + passed_.size());
    for (auto& [id, absent] : missing) {
      const bool was_held = held_.contains(id);
      // Evidence for one absence (a DELETE) says nothing about another that was doubtful before.
      if (!was_held && !guarded) continue;
      const bool confirmed = was_held && now - absent.since >= options_.confirm;
      // Held also when the others are back: a store that lost its data fills up again one by one, and
      // the last ones to be written are no less there than the first.
      if (confirmed)
        ++verdict.released;
      else
        (was_held || suspicious ? hold : passed_).emplace(id, std::move(absent));
    }
    if (guarded && suspicious && !hold.empty()) hold.merge(std::exchange(passed_, {}));
  }
  held_ = std::move(hold);
  if (held_.empty()) {
    accepted_ = next;
    reading_.reset();
  } else {
    accepted_ = with_held(next);
    reading_ = next;
  }
  verdict.held = held_.size();
  verdict.admitted = *accepted_;
  return verdict;
}

// The next snapshot, with what is held put back where it was.
Snapshot Guard::with_held(const Snapshot& next) const {
  Snapshot out = next;
  out.services.clear();
  Cursor accepted(accepted_->services);
  auto fresh = next.services.begin();
  for (auto held = held_.begin(); held != held_.end();) {
    const ServiceKey key = held->first.first;
    for (; fresh != next.services.end() && (*fresh)->key < key; ++fresh)
      out.services.push_back(*fresh);
    Service merged = *held->second.service;
    merged.backends.clear();
    if (fresh != next.services.end() && (*fresh)->key == key) merged = **fresh++;
    for (; held != held_.end() && held->first.first == key; ++held)
      merged.backends.push_back(held->second.backend);
    std::sort(merged.backends.begin(), merged.backends.end(), by_address);
    const ServicePtr before = accepted.find(key);
    out.services.push_back(
        before && *before == merged ? before : std::make_shared<const Service>(std::move(merged)));
  }
  out.services.insert(out.services.end(), fresh, next.services.end());
  return out;
}

Guard::Verdict Guard::recheck(TimePoint now) {
  if (reading_) return admit(Snapshot(*reading_), now);
  Verdict verdict;
  if (accepted_) verdict.admitted = *accepted_;
  return verdict;
}

Snapshot Guard::accept() {
  if (reading_) accepted_ = std::move(reading_);
  reading_.reset();
  held_.clear();
  passed_.clear();
  return accepted_.value_or(Snapshot{});
}

std::optional<Guard::Held> Guard::held() const {
  if (held_.empty()) return std::nullopt;
  Held out;
  out.of = baseline_;
  out.since = held_.begin()->second.since;
  for (const auto& [id, absent] : held_) {
    out.backends.emplace_back(id.first, absent.backend);
    out.since = std::min(out.since, absent.since);
  }
  out.text = fmt::format(
      "{} of {} backends are missing in the last reading: kept until a reading {} later lacks them "
      "too, or until `lbctl resync --accept`",
      held_.size(), std::max(baseline_, held_.size()), format_duration(options_.confirm));
  return out;
}

std::optional<Guard::TimePoint> Guard::next_deadline() const {
  const auto held = this->held();
  if (!held) return std::nullopt;
  return held->since + options_.confirm;
}

}  // namespace lb
