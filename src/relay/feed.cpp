#include "relay/feed.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "relay/replica.h"

namespace lb::relay {
namespace {

// How far a listener may be behind, or gone, and still be brought on by a delta.
constexpr std::size_t kMaxPast = 64;
// Past states share all that has not changed since; what they do not share may be twice what is in
// force, and this much in any case. In backends.
constexpr std::size_t kFreeCost = 10'000;

bool same_but_for_backends(const Service& a, const Service& b) {
  return a.key == b.key && a.name == b.name && a.balance == b.balance && a.origin == b.origin &&
         a.default_address == b.default_address && a.check == b.check &&
         a.drain_timeout == b.drain_timeout && a.launder == b.launder;
}

BackendPatch make_patch(const Service& before, const Service& after) {
  BackendPatch out{ref_of(after), {}, {}};
  auto old = before.backends.begin();
  for (const Backend& backend : after.backends) {
    for (; old != before.backends.end() && old->address < backend.address; ++old)
      out.gone.push_back(old->address);
    const bool known = old != before.backends.end() && old->address == backend.address;
    if (!known || *old != backend) out.set.push_back(backend);
    if (known) ++old;
  }
  for (; old != before.backends.end(); ++old) out.gone.push_back(old->address);
  return out;
}

void add_change(const ServicePtr& before, const ServicePtr& after, Delta& out) {
  if (before == after) return;
  if (!same_but_for_backends(*before, *after)) {
    out.changed.push_back(after);
    return;
  }
  BackendPatch patch = make_patch(*before, *after);
  const std::size_t size = patch.set.size() + patch.gone.size();
  if (size == 0) return;
  if (size < after->backends.size() + before->backends.size())
    out.patched.push_back(std::move(patch));
  else
    out.changed.push_back(after);
}

}  // namespace

Delta make_delta(const std::vector<ServicePtr>& before, const std::vector<ServicePtr>& after) {
  Delta out;
  auto old = before.begin();
  for (const ServicePtr& service : after) {
    for (; old != before.end() && relay::before(*old, service); ++old)
      out.removed.push_back(ref_of(**old));
    if (old != before.end() && ref_of(**old) == ref_of(*service)) {
      add_change(*old, service, out);
      ++old;
    } else {
      out.changed.push_back(service);
    }
  }
  for (; old != before.end(); ++old) out.removed.push_back(ref_of(**old));
  return out;
}

bool StateFeed::publish(std::vector<ServicePtr> services, std::vector<SourceMark> sources) {
  sources_ = std::move(sources);
  if (at_.sequence > 0) {
    const Delta change = make_delta(services_, services);
    if (change.changed.empty() && change.patched.empty() && change.removed.empty()) {
      services_ = std::move(services);  // equal, but the next call shares these pointers
      return false;
    }
    remember(change);
  }
  services_ = std::move(services);
  ++at_.sequence;
  deltas_.clear();
  return true;
}

void StateFeed::remember(const Delta& change) {
  std::size_t total = 0;
  for (const ServicePtr& service : services_) total += 1 + service->backends.size();
  const auto size_of = [&](const ServiceRef& ref) -> std::size_t {
    const auto at =
        std::lower_bound(services_.begin(), services_.end(), ref,
                         [](const ServicePtr& s, const ServiceRef& r) { return ref_of(*s) < r; });
    return at != services_.end() && ref_of(**at) == ref ? 1 + (*at)->backends.size() : 0;
  };
  std::size_t cost = 0;
  for (const ServicePtr& service : change.changed) cost += size_of(ref_of(*service));
  for (const BackendPatch& patch : change.patched) cost += size_of(patch.service);
  for (const ServiceRef& ref : change.removed) cost += size_of(ref);
  past_.push_back({at_.sequence, std::move(services_), cost});
  std::size_t sum = 0;
  for (const Past& past : past_) sum += past.cost;
  while (past_.size() > kMaxPast || (past_.size() > 1 && sum > kFreeCost + 2 * total)) {
    sum -= past_.front().cost;
    past_.pop_front();
  }
}

Ping StateFeed::ping() const {
  Ping out;
  for (const SourceMark& source : sources_) {
    out.ok = out.ok && source.ok;
    out.read_at = std::min(out.read_at.value_or(source.read_at), source.read_at);
  }
  return out;
}

const std::vector<ServicePtr>* StateFeed::find(std::uint64_t sequence) const {
  for (const Past& past : past_)
    if (past.sequence == sequence) return &past.services;
  return nullptr;
}

bool StateFeed::knows(const Position& have) const {
  return have.epoch == at_.epoch && have.sequence != 0 &&
         (have.sequence == at_.sequence || find(have.sequence) != nullptr);
}

StateFeed::Step StateFeed::next(std::optional<std::uint64_t> have) {
  if (have) {
    Line& line = deltas_[*have];
    if (line) return {line, at_.sequence};
    if (const auto* services = find(*have)) {
      Delta delta = make_delta(*services, services_);
      delta.at = at_;
      delta.base = *have;
      delta.sources = sources_;
      line = std::make_shared<const std::string>(encode(delta));
      return {line, at_.sequence};
    }
    deltas_.erase(*have);
  }
  // With marks that are the newest: a listener compares them with those of other updaters.
  if (!snapshot_.line || snapshot_.sequence != at_.sequence || snapshot_sources_ != sources_) {
    snapshot_ = {
        std::make_shared<const std::string>(encode(SnapshotMessage{at_, sources_, services_})),
        at_.sequence};
    snapshot_sources_ = sources_;
  }
  return snapshot_;
}

}  // namespace lb::relay
