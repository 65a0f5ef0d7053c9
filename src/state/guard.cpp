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

// Its source has announced its end.
bool is_leaving(const Backend& backend) {
  return backend.state == BackendState::Draining && backend.reason == Reason::Source;
}

// One app, prefix or file has the key that another one had. What shares a backend is the same thing
// under a new name; where the origin is not known, by its address.
bool is_taken_over(const Service& before, const Service& after) {
  return before.origin != after.origin &&
         std::none_of(before.backends.begin(), before.backends.end(), [&](const Backend& b) {
           return std::any_of(after.backends.begin(), after.backends.end(), [&](const Backend& a) {
             return a.address == b.address && (a.id == b.id || before.origin.empty());
           });
         });
}

bool lists_nothing(const Snapshot& snapshot) {
  return std::all_of(snapshot.services.begin(), snapshot.services.end(), [](const auto& service) {
    return std::all_of(service->backends.begin(), service->backends.end(), is_leaving);
  });
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

bool Guard::is_usable(const ServiceKey& key, const Backend& backend) const {
  return backend.weight > 0 &&
         (backend.state == BackendState::Active || backend.state == BackendState::Unknown) &&
         !unused_.contains({key, backend.address});
}

void Guard::restore(Snapshot accepted) {
  accepted_ = std::move(accepted);
  reading_.reset();
  held_.clear();
  passed_.clear();
}

Guard::Absences Guard::missing_from(const Snapshot& next, TimePoint now) const {
  Absences missing;
  Cursor there(next.services);
  for (const ServicePtr& before : accepted_->services) {
    const ServicePtr after = there.find(before->key);
    if (after != before) add_missing(before, after, next, now, missing);
  }
  return missing;
}

void Guard::add_missing(const ServicePtr& before, const ServicePtr& after, const Snapshot& next,
                        TimePoint now, Absences& out) const {
  const bool goes_on = after && !is_taken_over(*before, *after);
  const bool usable_left =
      goes_on && std::any_of(after->backends.begin(), after->backends.end(),
                             [&](const Backend& b) { return is_usable(after->key, b); });
  for (const Backend& backend : before->backends) {
    if (goes_on && has_backend(*after, backend.address)) continue;
    if (is_leaving(backend)) continue;
    if (std::binary_search(next.gone.begin(), next.gone.end(), backend.id)) continue;
    const Id id{before->key, backend.address};
    Absent absent{.backend = backend, .service = before, .since = now};
    if (const auto known = held_.find(id); known != held_.end()) {
      absent.since = known->second.since;
      absent.wait = known->second.wait;
      absent.was_held = true;
    }
    absent.last = !usable_left && is_usable(before->key, backend);
    absent.after = goes_on ? after->backends.size() : 0;
    out.emplace(id, std::move(absent));
  }
}

bool Guard::implausible(std::size_t missing, std::size_t of) const {
  if (missing >= 2 && missing >= of) return true;
  return missing >= options_.min_missing && missing * 100 > of * options_.max_loss_percent;
}

Guard::Wait Guard::wait_of_source(const Snapshot& next, std::size_t missing) const {
  if (missing == 0) return Wait::None;
  missing += passed_.size();
  if (lists_nothing(next) && (missing >= 2 || !next.lapses)) return Wait::Total;
  return implausible(missing, baseline_) ? Wait::Confirm : Wait::None;
}

// What was longer once stays so: a store that lost its data fills up again one by one, and the last
// ones to be written are no less there than the first.
void Guard::judge(Absences& missing, Wait source) const {
  for (auto it = missing.begin(); it != missing.end();) {
    const ServiceKey key = it->first.first;
    const auto of_key = [&](const auto& one) { return one.first.first == key; };
    const auto end = std::find_if_not(it, missing.end(), of_key);
    const auto passed =
        static_cast<std::size_t>(std::count_if(passed_.begin(), passed_.end(), of_key));
    const auto count = static_cast<std::size_t>(std::distance(it, end)) + passed;
    const std::size_t of = it->second.service->backends.size() + passed;
    // Tasks that were all replaced between two readings are no loss.
    const bool much = implausible(std::min(count, of - std::min(of, it->second.after)), of);
    for (; it != end; ++it) {
      Absent& absent = it->second;
      absent.wait = std::max({absent.wait, source, much ? Wait::Confirm : Wait::None,
                              absent.last ? Wait::Again : Wait::None});
    }
  }
}

std::chrono::milliseconds Guard::length(Wait wait) const {
  switch (wait) {
    case Wait::None:
      return std::chrono::milliseconds(0);
    case Wait::Again:
      return std::min(kAgain, options_.confirm);
    case Wait::Confirm:
      return options_.confirm;
    case Wait::Total:
      return std::max(options_.total, options_.confirm);
  }
  bug("wait of a guard");
}

// Those that are old, those that are back, and those whose port another origin has.
void Guard::forget_passed(const Snapshot& next, TimePoint now) {
  Cursor there(next.services);
  ServicePtr service;
  for (auto it = passed_.begin(); it != passed_.end();) {
    const auto& [key, address] = it->first;
    if (!service || service->key != key) service = there.find(key);
    const bool settled =
        service && (has_backend(*service, address) || is_taken_over(*it->second.service, *service));
    it = settled || now - it->second.since >= options_.confirm ? passed_.erase(it) : std::next(it);
  }
}

// Those that went before, one by one, and belong to what is held now.
void Guard::hold_passed(Absences& hold, Wait source) {
  std::map<ServiceKey, Wait> by_key;
  for (const auto& [id, absent] : hold) {
    Wait& wait = by_key[id.first];
    wait = std::max(wait, absent.wait);
  }
  Cursor accepted(accepted_->services);
  for (auto it = passed_.begin(); it != passed_.end();) {
    // What another origin has come for since is settled.
    const ServicePtr now = accepted.find(it->first.first);
    if (now && is_taken_over(*it->second.service, *now)) {
      it = passed_.erase(it);
      continue;
    }
    const auto key = by_key.find(it->first.first);
    const Wait wait = std::max(source, key != by_key.end() ? key->second : Wait::None);
    if (wait < Wait::Confirm) {
      ++it;
      continue;
    }
    it->second.wait = wait;
    hold.insert(passed_.extract(it++));
  }
}

Guard::Verdict Guard::admit(const Snapshot& next, TimePoint now) {
  now = next.polled_at.value_or(now);
  Verdict verdict;
  Absences hold;
  if (accepted_) {
    const bool guarded = next.absence == Absence::Guarded;
    forget_passed(next, now);
    if (held_.empty()) baseline_ = count_backends(*accepted_) + passed_.size();
    Absences missing = missing_from(next, now);
    const Wait source = guarded ? wait_of_source(next, missing.size()) : Wait::None;
    if (guarded) judge(missing, source);
    for (auto& [id, absent] : missing) {
      // Evidence for one absence (a DELETE) says nothing about another that was doubtful before.
      if (!absent.was_held && !guarded) continue;
      if (absent.was_held && now - absent.since >= length(absent.wait))
        ++verdict.released;
      else
        (absent.wait != Wait::None ? hold : passed_).emplace(id, std::move(absent));
    }
    if (guarded && !hold.empty()) hold_passed(hold, source);
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
    const bool listed = fresh != next.services.end() && (*fresh)->key == key;
    const auto end =
        std::find_if(held, held_.end(), [&](const auto& one) { return one.first.first != key; });
    out.services.push_back(
        with_held(listed ? fresh->get() : nullptr, held, end, accepted.find(key)));
    if (listed) ++fresh;
    held = end;
  }
  out.services.insert(out.services.end(), fresh, next.services.end());
  return out;
}

ServicePtr Guard::with_held(const Service* fresh, Absences::const_iterator begin,
                            Absences::const_iterator end, const ServicePtr& before) const {
  const Service& known = *begin->second.service;
  const bool goes_on = fresh != nullptr && !is_taken_over(known, *fresh);
  Service merged = goes_on ? *fresh : known;
  if (!goes_on) merged.backends.clear();
  for (auto held = begin; held != end; ++held) merged.backends.push_back(held->second.backend);
  std::sort(merged.backends.begin(), merged.backends.end(), by_address);
  return before && *before == merged ? before : std::make_shared<const Service>(std::move(merged));
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
  Wait longest = Wait::None;
  for (const auto& [id, absent] : held_) {
    out.backends.emplace_back(id.first, absent.backend);
    out.since = std::min(out.since, absent.since);
    longest = std::max(longest, absent.wait);
  }
  out.total = longest == Wait::Total;
  out.text = fmt::format(
      "{} of {} backends are missing in the last reading{}: kept until a reading {} later lacks "
      "them too, or until `lbctl resync --accept`",
      held_.size(), std::max(baseline_, held_.size()),
      out.total ? ", all of the source were, and nothing tells of their end" : "",
      format_duration(length(longest)));
  return out;
}

std::optional<Guard::TimePoint> Guard::next_deadline() const {
  if (held_.empty() || reading_->polled_at) return std::nullopt;
  auto next = TimePoint::max();
  for (const auto& [id, absent] : held_)
    next = std::min<TimePoint>(next, absent.since + length(absent.wait));
  return next;
}

}  // namespace lb
