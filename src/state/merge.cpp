#include "state/merge.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "model/host_address.h"
#include "state/eligibility.h"

namespace lb {
namespace {

using DepartureIter = Departures::Map::const_iterator;

// All that goes into one service.
struct Parts {
  ServiceKey key;
  const OwnedService* owned = nullptr;  // null: it has left its source
  DepartureIter departed_begin, departed_end;
  std::vector<HealthVerdicts::const_iterator> down;  // sorted by address
  const std::string* conflict = nullptr;
  const MergeResult::Memo* old = nullptr;  // the same key in the previous result

  [[nodiscard]] bool plain() const {
    return owned && departed_begin == departed_end && down.empty() && !conflict;
  }
};

const std::vector<Drain>& list_of(const std::shared_ptr<const std::vector<Drain>>& drains) {
  static const std::vector<Drain> kNone;
  return drains ? *drains : kNone;
}

// Both as Drains::all() has them. Another lbd may have told of 10,000.
std::vector<Drain> in_one_only(const std::vector<Drain>& a, const std::vector<Drain>& b) {
  std::vector<Drain> out;
  auto ours = a.begin();
  auto theirs = b.begin();
  while (ours != a.end() || theirs != b.end()) {
    const bool first = theirs == b.end() || (ours != a.end() && Drains::in_order(*ours, *theirs));
    const bool second = ours == a.end() || (theirs != b.end() && Drains::in_order(*theirs, *ours));
    const bool same = !first && !second && *ours == *theirs;
    if (!second) {
      if (!same) out.push_back(*ours);
      ++ours;
    }
    if (!first) {
      if (!same) out.push_back(*theirs);
      ++theirs;
    }
  }
  return out;
}

class Merger {
 public:
  explicit Merger(const MergeInput& input) : in_(input) {
    static const Departures kNone{std::chrono::milliseconds(0)};
    departures_ = &(in_.departures ? in_.departures : &kNone)->all();
    departed_ = departures_->begin();
    static const HealthVerdicts kAllUp;
    health_ = in_.health ? in_.health : &kAllUp;
    verdict_ = health_->begin();
    static const OwnerVerdicts kNoneKnown;
    owners_ = in_.owners ? in_.owners : &kNoneKnown;
    if (in_.drains) out_.drains = in_.drains->shared();
    out_.sources = in_.view->sources;
    out_.scope_all = in_.scope_all;
    const MergeResult* previous = in_.previous;
    same_world_ =
        previous && previous->sources == out_.sources && previous->scope_all == out_.scope_all;
    if (same_world_ && previous->drains != out_.drains)
      changed_drains_.set_fleet(in_one_only(list_of(previous->drains), list_of(out_.drains)));
  }

  MergeResult run();

 private:
  Parts next_parts();
  void skip_verdicts_before(const ServiceKey& key);
  void add_down(Parts& parts);
  [[nodiscard]] static const HealthVerdict* down_of(const Parts& parts, const Address& address);
  [[nodiscard]] const std::string* conflict_of(const ServiceKey& key) const;
  const MergeResult::Memo* old_of(const ServiceKey& key);
  [[nodiscard]] const MergeResult::Memo* unchanged_next();
  void take(const MergeResult::Memo& memo);
  [[nodiscard]] bool is_unchanged(const Parts& parts) const;
  // By a drain that came, went or is another now.
  [[nodiscard]] bool is_touched(const Service& service) const;
  [[nodiscard]] MergeResult::Memo build(const Parts& parts) const;
  void add_owned(const Parts& parts, MergeResult::Memo& memo, DesiredService& service) const;
  void add_departed(const Parts& parts, DesiredService& service) const;
  void judge(const Parts& parts, const MergeResult::Memo& memo, DesiredService& service) const;
  [[nodiscard]] DesiredBackend live(const Backend& backend, const Service& service,
                                    const Parts& parts) const;
  [[nodiscard]] DesiredBackend departed(const Departure& departure, const Parts& parts) const;
  // Why it gets nothing, as its port is not its user's; null: that is no reason.
  [[nodiscard]] const std::string* not_held(const Backend& backend, const ServiceKey& key) const;
  void set_since(DesiredBackend& b, const Parts& parts, SysTime otherwise) const;
  [[nodiscard]] bool left_out(const Address& address) const {
    return in_.scope_all && address.ip.is_loopback();
  }

  const MergeInput& in_;
  const Departures::Map* departures_;
  bool same_world_ = false;
  Drains changed_drains_;
  std::size_t next_owned_ = 0;  // in view->services
  std::size_t next_old_ = 0;    // in previous->memo
  DepartureIter departed_;
  const HealthVerdicts* health_;
  HealthVerdicts::const_iterator verdict_;
  const OwnerVerdicts* owners_;
  MergeResult out_;
};

Parts Merger::next_parts() {
  const auto& services = in_.view->services;
  Parts parts;
  const OwnedService* owned = next_owned_ < services.size() ? &services[next_owned_] : nullptr;
  if (owned &&
      (departed_ == departures_->end() || !(departed_->first.first < owned->service->key))) {
    parts.owned = owned;
    parts.key = owned->service->key;
    ++next_owned_;
  } else {
    parts.key = departed_->first.first;
  }
  parts.departed_begin = departed_;
  while (departed_ != departures_->end() && departed_->first.first == parts.key) ++departed_;
  parts.departed_end = departed_;
  parts.conflict = conflict_of(parts.key);
  parts.old = old_of(parts.key);
  add_down(parts);
  return parts;
}

void Merger::skip_verdicts_before(const ServiceKey& key) {
  while (verdict_ != health_->end() && verdict_->first.first < key) ++verdict_;
}

// A verdict may be older than the news that the service has no check any more.
void Merger::add_down(Parts& parts) {
  skip_verdicts_before(parts.key);
  const bool checked = parts.owned && parts.owned->service->check;
  for (; verdict_ != health_->end() && verdict_->first.first == parts.key; ++verdict_)
    if (checked && !verdict_->second.up) parts.down.push_back(verdict_);
}

const HealthVerdict* Merger::down_of(const Parts& parts, const Address& address) {
  const auto found =
      std::lower_bound(parts.down.begin(), parts.down.end(), address,
                       [](const auto& down, const Address& a) { return down->first.second < a; });
  return found != parts.down.end() && (*found)->first.second == address ? &(*found)->second
                                                                        : nullptr;
}

const std::string* Merger::conflict_of(const ServiceKey& key) const {
  if (!in_.conflicts || in_.conflicts->empty()) return nullptr;
  const auto found = in_.conflicts->find(key);
  return found == in_.conflicts->end() ? nullptr : &found->second;
}

const MergeResult::Memo* Merger::old_of(const ServiceKey& key) {
  if (!in_.previous) return nullptr;
  const auto& memo = in_.previous->memo;
  while (next_old_ < memo.size() && memo[next_old_].key < key) ++next_old_;
  return next_old_ < memo.size() && memo[next_old_].key == key ? &memo[next_old_++] : nullptr;
}

MergeResult Merger::run() {
  out_.memo.reserve(in_.view->services.size());
  while (next_owned_ < in_.view->services.size() || departed_ != departures_->end())
    if (const MergeResult::Memo* old = unchanged_next()) {
      ++next_owned_;
      ++next_old_;
      take(*old);
    } else {
      const Parts parts = next_parts();
      take(is_unchanged(parts) ? *parts.old : build(parts));
    }
  return std::move(out_);
}

// The common case, without looking into the service: the same pointer in the same place. Touching each
// of 10,000 services would cost more than all the rest.
const MergeResult::Memo* Merger::unchanged_next() {
  if (!same_world_ || next_owned_ == in_.view->services.size()) return nullptr;
  if (next_old_ == in_.previous->memo.size()) return nullptr;
  const OwnedService& owned = in_.view->services[next_owned_];
  const MergeResult::Memo& old = in_.previous->memo[next_old_];
  if (!old.plain || old.service != owned.service || old.source != owned.source ||
      old.refusal != owned.why)
    return nullptr;
  if (departed_ != departures_->end() && !(old.key < departed_->first.first)) return nullptr;
  skip_verdicts_before(old.key);
  if (verdict_ != health_->end() && verdict_->first.first == old.key) return nullptr;
  return conflict_of(old.key) || is_touched(*owned.service) ? nullptr : &old;
}

bool Merger::is_unchanged(const Parts& parts) const {
  return same_world_ && parts.plain() && parts.old && parts.old->plain &&
         parts.old->service == parts.owned->service && parts.old->source == parts.owned->source &&
         parts.old->refusal == parts.owned->why && !is_touched(*parts.owned->service);
}

bool Merger::is_touched(const Service& service) const {
  return !changed_drains_.all().empty() &&
         std::any_of(service.backends.begin(), service.backends.end(),
                     [&](const Backend& b) { return changed_drains_.matches(b, service); });
}

void Merger::take(const MergeResult::Memo& memo) {
  out_.memo.push_back(memo);
  out_.state.emplace_hint(out_.state.end(), memo.key, memo.desired);
  if (memo.warnings)
    out_.warnings.insert(out_.warnings.end(), memo.warnings->begin(), memo.warnings->end());
}

MergeResult::Memo Merger::build(const Parts& parts) const {
  MergeResult::Memo memo;
  memo.key = parts.key;
  memo.plain = parts.plain();
  memo.checked = parts.owned && parts.owned->service->check && !parts.owned->refused;
  DesiredService service;
  service.key = parts.key;
  service.removed = parts.owned == nullptr;
  service.launder = parts.owned == nullptr || parts.owned->service->launder;
  if (parts.owned) add_owned(parts, memo, service);
  add_departed(parts, service);
  std::sort(service.backends.begin(), service.backends.end(),
            [](const auto& a, const auto& b) { return a.backend.address < b.backend.address; });
  memo.owned = std::any_of(service.backends.begin(), service.backends.end(),
                           [](const DesiredBackend& b) { return b.backend.uid.has_value(); });
  memo.plain = memo.plain && !memo.owned;
  judge(parts, memo, service);
  memo.desired = parts.old && *parts.old->desired == service
                     ? parts.old->desired
                     : std::make_shared<const DesiredService>(std::move(service));
  return memo;
}

void Merger::add_owned(const Parts& parts, MergeResult::Memo& memo, DesiredService& service) const {
  const Service& from = *parts.owned->service;
  memo.service = parts.owned->service;
  memo.source = parts.owned->source;
  service.name = from.name;
  service.balance = from.balance;
  memo.refusal = parts.owned->why;
  service.source = in_.view->sources[parts.owned->source].name;
  service.reach = in_.view->sources[parts.owned->source].reach;
  service.backends.reserve(from.backends.size());
  std::vector<std::string> warnings;
  for (const Backend& backend : from.backends) {
    if (left_out(backend.address))
      warnings.push_back(fmt::format(
          "{}: service {} ({}): backend {} is left out: with scope = \"all\" a loopback address "
          "would mean another machine in each network namespace; give it an address of the host",
          from.origin.empty() ? service.source : from.origin, from.name, from.key.to_string(),
          backend.address.to_string()));
    // Sources say this in their own words; it holds for snapshots of older versions and other lbds, too.
    else if (const auto why = why_no_host(backend.address.ip); !why.empty())
      warnings.push_back(fmt::format("{}: service {} ({}): backend {} is left out: it is {}",
                                     from.origin.empty() ? service.source : from.origin, from.name,
                                     from.key.to_string(), backend.address.to_string(), why));
    else
      service.backends.push_back(live(backend, from, parts));
  }
  if (!warnings.empty())
    memo.warnings = std::make_shared<const std::vector<std::string>>(std::move(warnings));
}

void Merger::add_departed(const Parts& parts, DesiredService& service) const {
  const bool present_serve =
      std::any_of(service.backends.begin(), service.backends.end(),
                  [](const DesiredBackend& b) { return eligibility(b) != Eligibility::Never; });
  // What this app itself has left serves before what is of an unknown one.
  const bool own_left =
      parts.owned && std::any_of(parts.departed_begin, parts.departed_end, [&](const auto& entry) {
        return entry.second.origin == parts.owned->service->origin &&
               eligibility(departed(entry.second, parts)) != Eligibility::Never;
      });
  for (auto it = parts.departed_begin; it != parts.departed_end; ++it) {
    const Departure& departure = it->second;
    if (service.removed && service.name.empty()) {
      service.name = departure.service_name;
      service.balance = departure.balance;
      service.source = departure.source;
    }
    if (left_out(departure.backend.address) || !why_no_host(departure.backend.address.ip).empty())
      continue;
    service.backends.push_back(departed(departure, parts));
    // The port is another app's now, or may be: what the first one left never serves beside it.
    if (parts.owned && parts.owned->service->origin != departure.origin &&
        (!departure.origin.empty() || present_serve || own_left))
      service.backends.back().backend.weight = 0;
  }
}

DesiredBackend Merger::live(const Backend& backend, const Service& service,
                            const Parts& parts) const {
  DesiredBackend b;
  b.backend = backend;
  b.state = backend.state;
  b.reason = backend.reason;
  const Drain* drain = in_.drains ? in_.drains->find(backend, service) : nullptr;
  const bool usable = b.state == BackendState::Active || b.state == BackendState::Unknown ||
                      (b.state == BackendState::Exited && b.reason == Reason::Unreachable);
  const HealthVerdict* down = usable ? down_of(parts, backend.address) : nullptr;
  const std::string* not_held = this->not_held(backend, service.key);
  if (drain) {
    b.state = BackendState::Draining;
    b.reason = Reason::Operator;
  } else if (usable && backend.weight == 0) {
    b.state = BackendState::Draining;
    b.reason = Reason::Weight;
  } else if (not_held && backend.weight > 0) {
    // Stronger than every verdict on its health: what answers there may be another user's.
    b.state = BackendState::Down;
    b.reason = Reason::Owner;
    b.text = *not_held;
  } else if (down && b.reason == Reason::NotSeen) {
    // Silent with all others: lbd's own probe was what it stayed in use for.
    b.state = BackendState::Stale;
    set_since(b, parts, down->since);
    return b;
  } else if (down) {
    b.state = BackendState::Down;
    b.reason = Reason::ProbeFailed;
    set_since(b, parts, down->since);
    return b;
  }
  // After a restart the drain knows better than we do.
  set_since(b, parts, drain && !in_.previous ? drain->since : in_.now.wall);
  return b;
}

DesiredBackend Merger::departed(const Departure& departure, const Parts& parts) const {
  DesiredBackend b;
  b.backend = departure.backend;
  b.departed = true;
  b.state = BackendState::Draining;
  const Drain* drain =
      in_.drains ? in_.drains->find(b.backend, parts.key, departure.service_name) : nullptr;
  if (departure.deadline.passed(in_.now.steady)) {
    b.reason = Reason::Lingering;
    set_since(b, parts, departure.deadline.wall);
  } else if (drain) {
    b.reason = Reason::Operator;
    set_since(b, parts, in_.previous ? in_.now.wall : drain->since);
  } else if (const std::string* not_held = this->not_held(b.backend, parts.key)) {
    b.reason = Reason::Owner;  // no last resort
    b.text = *not_held;
    set_since(b, parts, in_.now.wall);
  } else {
    b.reason = Reason::Source;
    set_since(b, parts, departure.since);
  }
  return b;
}

const std::string* Merger::not_held(const Backend& backend, const ServiceKey& key) const {
  static const std::string kNotKnown = "who holds its port is not known yet";
  if (!backend.uid) return nullptr;
  const auto found = owners_->find({key, backend.address});
  if (found == owners_->end()) return &kNotKnown;
  return found->second.empty() ? nullptr : &found->second;
}

void Merger::set_since(DesiredBackend& b, const Parts& parts, SysTime otherwise) const {
  b.since = otherwise;
  if (!parts.old) return;
  const auto& before = parts.old->desired->backends;
  const auto found = std::lower_bound(
      before.begin(), before.end(), b.backend.address,
      [](const DesiredBackend& d, const Address& a) { return d.backend.address < a; });
  if (found != before.end() && found->backend.address == b.backend.address &&
      found->backend.id == b.backend.id && found->state == b.state && found->reason == b.reason)
    b.since = found->since;
}

void Merger::judge(const Parts& parts, const MergeResult::Memo& memo,
                   DesiredService& service) const {
  if (!parts.owned) {
    service.condition = Condition::NoBackends;
    service.text = "its source lists it no more: open connections run out, new ones are not taken";
  } else if (parts.owned->refused) {
    service.condition = Condition::Refused;
    service.text = "not programmed: " + parts.owned->why;
  } else if (parts.conflict) {
    service.condition = Condition::Conflict;
    service.text = *parts.conflict;
  } else {
    Assignment assignment = assign_weights(service.backends);
    service.condition = assignment.condition;
    service.text = std::move(assignment.text);
    if (service.backends.empty() && memo.warnings)
      service.text = in_.scope_all
                         ? "all backends are left out, as loopback addresses cannot be used with "
                           "scope = \"all\": connections are refused"
                         : "all backends are left out, as their addresses name no host: "
                           "connections are refused";
  }
}

}  // namespace

MergeResult merge(const MergeInput& input) { return Merger(input).run(); }

}  // namespace lb
