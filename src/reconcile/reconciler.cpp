#include "reconcile/reconciler.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/audit.h"

namespace lb {

Reconciler::Reconciler(Dataplane& dataplane, ReconcilerOptions options)
    : dataplane_(dataplane), options_(std::move(options)) {}

void Reconciler::adopt(const Observed& observed, SteadyTime now) {
  for (auto& [key, programmed] : to_applied(observed)) {
    set_applied(key, programmed);
    unclaimed_.insert(key);
  }
  next_drift_ = now + kDrift;
}

void Reconciler::want(DesiredState desired) {
  for (const ServiceKey& key : changed_keys(desired_, desired)) {
    if (claims(desired_, key) != claims(desired, key))
      mark_with_dependents(key);
    else
      mark(key);
    if (desired.contains(key)) unclaimed_.erase(key);
    note_refusal(key, desired);
  }
  desired_ = std::move(desired);
}

void Reconciler::note_refusal(const ServiceKey& key, const DesiredState& next) const {
  const auto refused = [&](const DesiredState& state) {
    const auto it = state.find(key);
    return it != state.end() && it->second->condition == Condition::Refused ? it->second : nullptr;
  };
  const DesiredServicePtr now = refused(next);
  if (!now || refused(desired_)) return;
  write_audit({.event = "claim-refused",
               .who = "source=" + now->source,
               .from = "sources",
               .what = key.to_string(),
               .why = now->text,
               .result = "refused"});
}

void Reconciler::set_local_addresses(std::vector<IpAddress> addresses) {
  std::sort(addresses.begin(), addresses.end());
  HostView host{std::move(addresses), true};
  if (host == host_) return;
  host_ = std::move(host);
  for (const auto& [key, service] : desired_)
    // Where it may be published depends on them, and a listener may have become, or ceased to be, a backend on one of them.
    if (!key.address.is_loopback() || notes_.contains(key)) mark(key);
}

void Reconciler::all_sources_delivered() {
  all_delivered_ = true;
  for (const ServiceKey& key : unclaimed_) mark(key);
  if (options_.held)
    options_.held->release_all_but(
        [this](const Frontend& frontend) { return frontends_.contains(frontend); }, wall_);
}

StepResult Reconciler::step(SteadyTime now, SysTime wall, std::size_t limit,
                            const std::function<bool()>& enough) {
  now_ = now;
  wall_ = wall;
  do_due(now);
  StepResult result;
  sort_out_dirty(now, enough);
  // What gives up an address goes before what takes it: nothing is written before all is sorted.
  result.more = !dirty_.empty();
  if (result.more) return result;
  prepare(limit);
  std::size_t done = 0;
  for (auto& queue : queues_)
    while (!queue.empty() && done < limit && (!enough() || done < kAtLeast)) {
      const ServiceKey key = queue.extract(queue.begin()).value();
      carry_out(key, now, wall, result);
      prepared_.erase(key);
      ++done;
    }
  result.more =
      !dirty_.empty() || !to_compare_.empty() ||
      std::any_of(queues_.begin(), queues_.end(), [](const auto& queue) { return !queue.empty(); });
  return result;
}

// One change goes straight to the dataplane; many are announced.
void Reconciler::prepare(std::size_t limit) {
  const auto& queue = queues_.at(static_cast<std::size_t>(Step::Upsert));
  if (queue.size() < 2 || prepared_.contains(*queue.begin())) return;
  prepared_.clear();
  std::vector<ProgrammedService> soon;
  for (auto it = queue.begin(); it != queue.end() && soon.size() < limit; ++it)
    if (auto want = target(*it)) {
      soon.push_back(*std::move(want));
      prepared_.insert(*it);
    }
  if (auto done = dataplane_.prepare(soon); !done)
    spdlog::debug("prepare: {}", done.error().message());  // each upsert meets and tells it
}

DesiredServicePtr Reconciler::effective(const ServiceKey& key) const {
  const auto it = desired_.find(key);
  if (it == desired_.end()) return describe_unclaimed(key);
  const auto note = notes_.find(key);
  if (note == notes_.end() || !note->second.conflict) return as_reached(it->second);
  auto copy = std::make_shared<DesiredService>(*it->second);
  copy->condition = Condition::Conflict;
  copy->text = note->second.text;
  for (DesiredBackend& b : copy->backends) b.effective_weight = 0;  // not programmed: not in use
  return copy;
}

DesiredServicePtr Reconciler::as_reached(const DesiredServicePtr& service) const {
  if (service->condition != Condition::Ok || service->removed || !service->reach) return service;
  const std::string why = why_local_only(*service, desired_, host_);
  if (why.empty()) return service;
  auto copy = std::make_shared<DesiredService>(*service);
  copy->condition = Condition::LocalOnly;
  copy->text = "clients of other hosts are not served: " + why;
  return copy;
}

DesiredServicePtr Reconciler::describe_unclaimed(const ServiceKey& key) const {
  const auto applied = applied_.find(key);
  if (applied == applied_.end() || !unclaimed_.contains(key)) return nullptr;
  auto out = std::make_shared<DesiredService>();
  out->key = key;
  out->name = key.to_string();
  out->balance = applied->second.balance;
  out->condition = Condition::Unclaimed;
  out->text =
      "an lbd before this one programmed it, and no source has named it since: it stays until all "
      "sources have delivered";
  for (const ProgrammedBackend& b : applied->second.backends) {
    DesiredBackend& backend = out->backends.emplace_back();
    backend.backend.id = b.address.to_string();
    backend.backend.host = b.address.ip.to_string();
    backend.backend.address = b.address;
    backend.backend.weight = backend.effective_weight = b.weight;
    if (b.weight > 0) continue;
    backend.state = BackendState::Draining;
    backend.reason = b.drained ? Reason::Operator : Reason::Weight;
  }
  return out;
}

std::optional<ServiceKey> Reconciler::owner(const Frontend& frontend) const {
  const auto it = frontends_.find(frontend);
  if (it == frontends_.end()) return std::nullopt;
  return it->second;
}

void Reconciler::mark_with_dependents(const ServiceKey& key) {
  for (const ServiceKey& k : dependents(key)) mark(k);
}

bool Reconciler::takes_new_frontend(const ServiceKey& key) const {
  const auto addresses = frontend_addresses(key, desired_, host_.addresses);
  return std::any_of(addresses.begin(), addresses.end(), [&](const IpAddress& address) {
    return !frontends_.contains({key.protocol, address, key.port});
  });
}

void Reconciler::sort_out_dirty(SteadyTime now, const std::function<bool()>& enough) {
  if (!std::exchange(sorting_, true)) listeners_asked_ = false;
  for (std::size_t sorted = 1; !dirty_.empty(); ++sorted) {
    if (sorted % kSorted == 0 && enough()) return;
    const ServiceKey key = *dirty_.begin();
    // Who listens is asked again before anything new is taken: a listener that was there first must
    // never lose its clients because we looked two seconds ago.
    if (!listeners_asked_ && takes_new_frontend(key)) {
      look_for_listeners(now);
      listeners_asked_ = true;
    }
    dirty_.erase(key);
    sort_out(key);
  }
  sorting_ = false;
}

void Reconciler::sort_out(const ServiceKey& key) {
  for (auto& queue : queues_) queue.erase(key);
  const auto want = target(key);
  const auto have = applied_.find(key);
  const auto step =
      next_step(want ? &*want : nullptr, have == applied_.end() ? nullptr : &have->second);
  if (step)
    queues_.at(static_cast<std::size_t>(*step)).insert(key);
  else
    failures_.erase(key);
}

std::optional<ProgrammedService> Reconciler::target(const ServiceKey& key) {
  const auto it = desired_.find(key);
  if (it != desired_.end() && it->second->condition != Condition::Refused)
    return target_of(*it->second);
  notes_.erase(key);
  if (it == desired_.end() && unclaimed_.contains(key) && !all_delivered_)
    return applied_.at(key);  // its source may still come
  return std::nullopt;
}

std::optional<ProgrammedService> Reconciler::target_of(const DesiredService& service) {
  ListenerNote note;
  const auto wanted = frontend_addresses(service.key, desired_, host_.addresses);
  const auto blocked = blocked_addresses(service, wanted, note);
  auto free = without_blocked(service.key, wanted, blocked);
  note.conflict = note.waits && free.empty();
  const bool conflict = note.conflict;
  keep_note(service.key, std::move(note));
  // What is programmed stays without addresses, so that open connections are still counted.
  if (conflict && !applied_.contains(service.key)) return std::nullopt;
  ProgrammedService programmed = to_programmed(service, std::move(free));
  programmed.withheld = withheld_addresses(service, programmed.addresses, host_);
  return programmed;
}

std::set<IpAddress> Reconciler::blocked_addresses(const DesiredService& service,
                                                  const std::vector<IpAddress>& addresses,
                                                  ListenerNote& note) {
  std::set<IpAddress> blocked;
  for (const IpAddress& address : addresses) {
    const Frontend frontend{service.key.protocol, address, service.key.port};
    const auto holder = frontends_.find(frontend);
    const bool held = holder != frontends_.end();
    if (held && holder->second != service.key && unclaimed_.contains(holder->second)) {
      blocked.insert(address);  // until its source has come, or all the others have
      continue;
    }
    for (const Listener* listener : find_conflicts(service, address, listeners_, host_.addresses)) {
      const bool blocks =
          !held && !options_.shadow && keeps_its_port(*listener, service, addresses);
      // The first address that is left to a listener explains most; a mere warning gives way to it.
      if (note.text.empty() || (blocks && !note.waits)) {
        note.text = listener_text(*listener, service, address, blocks);
        note.listener = *listener;
      }
      note.waits = note.waits || blocks;
      if (blocks) blocked.insert(address);
    }
  }
  return blocked;
}

// One socket may take several of the addresses: who came after lbd at one of them is no predecessor at the others.
bool Reconciler::keeps_its_port(const Listener& listener, const DesiredService& service,
                                const std::vector<IpAddress>& addresses) const {
  if (options_.yield_to.contains(listener.uid)) return true;
  if (options_.decides_for_host(service.source)) return false;
  return options_.held == nullptr ||
         std::none_of(addresses.begin(), addresses.end(), [&](const IpAddress& address) {
           const Frontend frontend{service.key.protocol, address, service.key.port};
           return receives(listener, frontend) && options_.held->contains(frontend, wall_);
         });
}

std::string Reconciler::listener_text(const Listener& listener, const DesiredService& service,
                                      const IpAddress& address, bool blocks) {
  const std::string who = fmt::format("{} listens on {}", options_.name_listener(listener),
                                      Address{listener.address, listener.port}.to_string());
  const std::string where = Address{address, service.key.port}.to_string();
  if (blocks)
    return fmt::format(
        "{}, so {} is left to it: stop it, and the service takes over within a second; or set "
        "dataplane.on_local_listener = \"shadow\" to take over at once",
        who, where);
  const std::string taken =
      fmt::format("{}, but what local clients send to {} goes to the service", who, where);
  if (options_.shadow || options_.yield_to.contains(listener.uid)) return taken;
  return fmt::format("{}: uid {} is neither root nor in dataplane.yield_to, and {}", taken,
                     listener.uid,
                     options_.decides_for_host(service.source) ? "files decide for this host"
                                                               : "lbd had the port before");
}

// Named in the log when it begins, and when another user comes.
void Reconciler::keep_note(const ServiceKey& key, ListenerNote note) {
  if (note.text.empty()) {
    notes_.erase(key);
    return;
  }
  const auto before = notes_.find(key);
  const bool same = before != notes_.end() &&
                    before->second.listener.inode == note.listener.inode &&
                    before->second.waits == note.waits;
  const auto told = told_.find(key);
  const bool lately = told != told_.end() && told->second.uid == note.listener.uid &&
                      told->second.kept == note.waits && now_ - told->second.at < kToldAgain;
  if (!same && !lately) {
    spdlog::warn("{}",
                 to_string(Audit{.event = note.waits ? "listener-kept" : "listener-passed-over",
                                 .who = fmt::format("uid={}", note.listener.uid),
                                 .from = "socket-table",
                                 .what = key.to_string(),
                                 .why = note.text}));
    told_.insert_or_assign(key, Told{note.listener.uid, note.waits, now_});
  }
  notes_.insert_or_assign(key, std::move(note));
}

void Reconciler::carry_out(const ServiceKey& key, SteadyTime now, SysTime wall,
                           StepResult& result) {
  const auto want = target(key);
  const auto have = applied_.find(key);
  const bool absent = have == applied_.end();
  if (!next_step(want ? &*want : nullptr, absent ? nullptr : &have->second)) return;
  ++writes_;
  const Result<> done = want ? dataplane_.upsert(*want) : dataplane_.remove(key);
  if (!done) {
    ++result.failed;
    note_failure(key, done.error(), now, wall);
    return;
  }
  if (failures_.erase(key) > 0)
    spdlog::info("service={} programmed after failures", key.to_string());
  ++(want ? result.upserted : result.removed);
  if (absent || !want)
    write_audit({.event = want ? "service-taken" : "service-lost",
                 .who = source_of(key),
                 .from = "sources",
                 .what = key.to_string(),
                 .why = {}});
  const bool was_unclaimed = !want && unclaimed_.erase(key) > 0;
  set_applied(key, want);
  if (was_unclaimed) mark_with_dependents(key);  // who had to do without its addresses
}

// For the audit.
std::string Reconciler::source_of(const ServiceKey& key) const {
  const auto it = desired_.find(key);
  return it == desired_.end() ? "source=?" : "source=" + it->second->source;
}

void Reconciler::set_applied(const ServiceKey& key, std::optional<ProgrammedService> programmed) {
  if (const auto it = applied_.find(key); it != applied_.end()) {
    for (const IpAddress& address : it->second.addresses) {
      const auto frontend = frontends_.find({key.protocol, address, key.port});
      if (frontend == frontends_.end() || frontend->second != key) continue;
      const bool stays =
          programmed && std::find(programmed->addresses.begin(), programmed->addresses.end(),
                                  address) != programmed->addresses.end();
      if (options_.held && !stays) options_.held->release(frontend->first, wall_);
      frontends_.erase(frontend);
    }
    applied_.erase(it);
  }
  if (!programmed) return;
  for (const IpAddress& address : programmed->addresses) {
    const Frontend frontend{key.protocol, address, key.port};
    frontends_.insert_or_assign(frontend, key);
    if (options_.held) options_.held->take(frontend);
  }
  applied_.emplace(key, *std::move(programmed));
}

void Reconciler::note_failure(const ServiceKey& key, const Error& error, SteadyTime now,
                              SysTime wall) {
  const auto [it, first] = failures_.try_emplace(key);
  Failure& failure = it->second;
  if (first) failure.since = wall;
  // Said once, not at each attempt; `lbctl status` shows it while it lasts.
  if (first || failure.error != error.message())
    spdlog::error("service={} cannot be programmed: {}", key.to_string(), error.message());
  failure.error = error.message();
  failure.retry_at = now + failure.backoff.next(options_.random());
}

}  // namespace lb
