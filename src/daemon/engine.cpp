#include "daemon/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/text.h"

namespace lb {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

using std::chrono::milliseconds;

constexpr milliseconds kStep{10};  // of what takes longer; then others get their turn
// Later than planned by so much, lbd has slept; then what waits is read for so long. A machine that is
// always late judges all the same.
constexpr milliseconds kLate{1'000}, kReadFirst{1'000}, kLateAgain{10'000};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(Dataplane& dataplane, const std::string& state_dir,
                                             EngineSettings settings, ReconcilerOptions options,
                                             Clocks clocks, SourceSlots slots,
                                             SavedProblems& problems) {
  std::string path = state_dir + "/drains.json";
  Drains drains = problems.loaded_or(path, Drains::open(path, clocks.now()), Drains::without(path));
  if (!drains.dropped().empty()) problems.set(path + " limits", drains.dropped());
  path = state_dir + "/departures.json";
  Departures departures =
      problems.loaded_or(path, Departures::open(path, settings.drain_timeout, clocks.now()),
                         Departures(settings.drain_timeout, path));
  path = state_dir + "/health.json";
  SavedVerdicts verdicts =
      problems.loaded_or(path, SavedVerdicts::open(path), SavedVerdicts::without(path));
  path = HeldPorts::path_in(state_dir);
  HeldPorts held = problems.loaded_or(path, HeldPorts::open(path), HeldPorts::without(path));
  std::unique_ptr<Engine> engine(new Engine(
      dataplane, state_dir, settings, std::move(options), std::move(clocks), std::move(slots),
      std::move(drains), std::move(departures), std::move(verdicts), std::move(held), problems));
  LB_TRY(engine->found_, dataplane.read());
  engine->reconciler_.adopt(*engine->found_, engine->clocks_.steady());
  return engine;
}

Engine::Engine(Dataplane& dataplane, const std::string& state_dir, EngineSettings settings,
               ReconcilerOptions options, Clocks clocks, SourceSlots slots, Drains drains,
               Departures departures, SavedVerdicts verdicts, HeldPorts held,
               SavedProblems& problems)
    : dataplane_(dataplane),
      settings_(settings),
      clocks_(std::move(clocks)),
      slots_(std::move(slots)),
      drains_(std::move(drains)),
      departures_(std::move(departures)),
      verdicts_(std::move(verdicts)),
      held_(std::move(held)),
      problems_(problems),
      saver_(state_dir + "/sources", departures_, verdicts_, problems_, clocks_.steady),
      read_listeners_(options.read_listeners),
      reconciler_(dataplane, completed(std::move(options))),
      drain_watch_(dataplane) {
  saver_.add(saved_orders(drains_));
  saver_.add(saved_orders(held_));
}

ReconcilerOptions Engine::completed(ReconcilerOptions options) {
  options.held = &held_;
  options.decides_for_host = [this](const std::string& source) { return decides_for_host(source); };
  return options;
}

bool Engine::decides_for_host(const std::string& source) const {
  const auto is_file = [&](const auto& slot) {
    return slot->name() == source && slot->type() == "file";
  };
  return std::any_of(slots_.begin(), slots_.end(), is_file) ||
         std::any_of(former_.slots.begin(), former_.slots.end(), is_file);
}

void Engine::deliver(SourceSlot& slot, const Result<Snapshot>& snapshot) {
  if (snapshot)
    slot.deliver(*snapshot, clocks_.steady());
  else
    slot.fail(snapshot.error());
  replan_ = true;  // also after a failure: others need not wait for its claims any longer
}

void Engine::set_local_addresses(std::vector<IpAddress> addresses) {
  std::sort(addresses.begin(), addresses.end());
  if (host_.known && addresses == host_.addresses) return;
  host_ = {addresses, true};
  owners_.look_again();
  reconciler_.set_local_addresses(std::move(addresses));
  replan_ = true;  // what sources may claim depends on them
}

void Engine::configure(EngineSettings settings, SourceSlots slots, FormerSources former) {
  settings_ = settings;
  departures_.set_timeout(settings.drain_timeout);
  slots_ = std::move(slots);
  former_ = former.slots.empty() ? FormerSources{} : std::move(former);
  unused_told_ = false;
  replan_ = true;
}

// A successor that has delivered may still wait for what another source claims.
void Engine::dismiss_former() {
  const auto delivered = [](const auto& slot) { return slot->delivered(); };
  const auto speaks = [](const auto& slot) {
    return slot->snapshot() != nullptr || slot->input().gave_up;
  };
  if (former_.slots.empty() ||
      !std::all_of(former_.until.begin(), former_.until.end(), delivered) ||
      !std::all_of(slots_.begin(), slots_.end(), speaks))
    return;
  for (const auto& slot : former_.slots)
    spdlog::info("source={} is configured no more: what only it had leaves", slot->name());
  former_ = {};
}

std::optional<std::size_t> Engine::drop_former(const std::string& name) {
  const auto found = std::find_if(former_.slots.begin(), former_.slots.end(),
                                  [&](const auto& slot) { return slot->name() == name; });
  if (found == former_.slots.end()) return std::nullopt;
  const Snapshot* had = (*found)->snapshot();
  const std::size_t backends = had ? count_backends(*had) : 0;
  former_.slots.erase(found);
  replan_ = true;
  return backends;
}

SteadyTime Engine::judged(SteadyTime now) const { return now < judge_from_ ? awake_ : now; }

bool Engine::turn(std::size_t limit) {
  if (const SteadyTime awake = clocks_.steady();
      awake - kLate > planned_ && awake - kLateAgain > judge_from_)
    judge_from_ = awake + kReadFirst;
  else if (awake >= judge_from_)
    awake_ = awake;
  const bool more = do_turn(limit);
  // What wants to be at once is no longer late than what wants to be now.
  planned_ = more ? SteadyTime::max() : std::max(next_wakeup(), clocks_.steady());
  return more;
}

bool Engine::do_turn(std::size_t limit) {
  const SteadyTime now = clocks_.steady();
  do_due(now);
  if (apply_some(limit)) return true;
  // Only here, when all is applied: a count of 0 means something only for what has weight 0.
  const bool look_on = !watched_.empty() && next_look_ <= now && look_after_drains(now);
  if (replan_ || look_on) return true;
  // After applying, so that the kernel need not wait for the disk.
  saver_.save(saved_slots(), now);
  return false;
}

bool Engine::apply_some(std::size_t limit) {
  if (leftovers_) {
    adopt_leftovers(clocks_.now());
    replan_ = !leftovers_;
  }
  // A plan may take long: others have a turn before it is applied. It is, however often there is a new one.
  const bool just_planned = std::exchange(replanned_, false);
  if (replan_ && !just_planned) {
    replan_ = false;
    replan();
    replanned_ = limit != kNoLimit;
    if (replanned_) return true;
  }
  // Nothing is written before all that left while lbd was away is known: of UDP only what is listed is.
  return leftovers_ || step(limit).more || replan_;
}

void Engine::apply_all() {
  while (apply_some(kNoLimit)) {
  }
  if (planned_ == SteadyTime::max())
    planned_ =
        std::max(next_wakeup(), clocks_.steady());  // the first is late, too, if we sleep now
}

StepResult Engine::step(std::size_t limit) {
  const SteadyTime now = clocks_.steady();
  // From the first write on: to find out what there is to do takes its time, too, when much fails.
  std::optional<SteadyTime> began;
  const auto enough = [this, &began] {
    const SteadyTime at = clocks_.steady();
    return at - began.emplace(began.value_or(at)) >= kStep;
  };
  const StepResult r = reconciler_.step(now, clocks_.wall(), limit, enough);
  if (r.upserted + r.removed + r.failed > 0)
    spdlog::info("applied upserted={} removed={} failed={}", r.upserted, r.removed, r.failed);
  applied_ = applied_ || r.upserted + r.removed > 0;
  return r;
}

SourceSlots Engine::saved_slots() const {
  SourceSlots all = slots_;
  all.insert(all.end(), former_.slots.begin(), former_.slots.end());
  return all;
}

void Engine::do_due(SteadyTime now) {
  for (const auto& slot : slots_) replan_ = slot->recheck(judged(now)) || replan_;
  if (deadline_ && *deadline_ <= judged(now)) replan_ = true;
  if (const auto end = drains_.next_end(); end && *end <= judged(now)) replan_ = true;
  if (next_collect_ <= now) {
    next_collect_ = now + dataplane_.pace();
    if (!leftovers_error_.empty()) replan_ = true;
    const auto done = dataplane_.collect();
    log_change(collect_error_, done ? "" : "look after the dataplane: " + done.error().message());
  }
}

void Engine::replan() {
  const Moment now = clocks_.now();
  std::vector<SourceInput> inputs;
  catch_up();
  const std::optional<Observed> before = std::exchange(found_, std::nullopt);
  dismiss_former();
  for (const auto& slot : slots_) inputs.push_back(slot->input());
  for (const auto& slot : former_.slots) {
    inputs.push_back(slot->input());
    inputs.back().former = true;
  }
  View view = resolve_claims(inputs, &view_, host_);
  if (before) forget_contradicted_departures(*before, view);
  departures_.clamp(now);
  departures_.update(view, now, verdicts_.down());
  view_ = std::move(view);
  adopt_claimed(before, now);
  adopt_leftovers(now);
  if (before) recover_drains(*before, now.wall);

  MergeResult result = merge_all(now);
  const bool judges = now.steady >= judge_from_;
  const auto ended = drains_.settle(result.state, view_.complete && judges, now.steady);
  if (!ended.empty()) {
    for (const Drain& drain : ended) {
      spdlog::info("drain target={} ended: the backend is gone", to_string(drain.target));
      if (!drain.fleet.empty()) ended_fleet_.push_back(drain);
    }
    merged_ = std::move(result);
    merged_once_ = true;
    result = merge_all(now);
  }
  if (watch_owners(result, now.steady)) result = merge_all(now);
  warnings_ = result.warnings;
  for (std::string& warning : owners_.warnings()) warnings_.push_back(std::move(warning));
  reconciler_.want(std::move(result.state));
  merged_ = std::move(result);
  merged_once_ = true;
  tell_reach();
  tell_unused();
  if (leftovers_adopted_) reconciler_.all_sources_delivered();
  plan_watch(judged(now.steady));
  plan_next_deadline(judged(now.steady));
}

MergeResult Engine::merge_all(Moment now) {
  return merge({.view = &view_,
                .drains = &drains_,
                .departures = &departures_,
                .conflicts = nullptr,  // the reconciler sees listeners later, and lays them over
                .health = &verdicts_.down(),
                .owners = &owners_.verdicts(),
                .scope_all = settings_.scope_all,
                .previous = merged_once_ ? &merged_ : nullptr,
                .now = {now.wall, judged(now.steady)}});
}

std::vector<ServicePtr> Engine::checked() const {
  std::vector<ServicePtr> out;
  for (const MergeResult::Memo& memo : merged_.memo)
    if (memo.checked) out.push_back(memo.service);
  return out;
}

// What its source may not have is said once, when it comes to be so. Of one that was known before it may be an upgrade that
// brought narrower rights: the sentence names the line that widens them.
void Engine::tell_reach() {
  std::map<ServiceKey, std::string> now;
  for (const auto& [key, service] : reconciler_.desired()) {
    if (service->condition != Condition::Refused && key.address.is_loopback()) continue;
    const DesiredServicePtr effective = reconciler_.effective(key);
    if (effective->condition != Condition::Refused && effective->condition != Condition::LocalOnly)
      continue;
    now.emplace(key, effective->text);
    const auto before = out_of_reach_.find(key);
    if (before != out_of_reach_.end() && before->second == effective->text) continue;
    spdlog::warn("service={} name={} source={} {}: {}", key.to_string(),
                 printable(effective->name, 256), effective->source,
                 to_string(effective->condition), effective->text);
  }
  for (const auto& [key, text] : out_of_reach_)
    if (!now.contains(key) && reconciler_.desired().contains(key))
      spdlog::info("service={} is within what its source may claim and publish", key.to_string());
  out_of_reach_ = std::move(now);
}

void Engine::tell_unused() {
  Unused unused;
  if (!drains_.all().empty() || !verdicts_.down().empty() || owners_.any())
    for (const auto& [key, service] : reconciler_.desired())
      for (const DesiredBackend& b : service->backends)
        // Also of those that have departed: their source may list them again before the next plan.
        if (b.effective_weight == 0 && (b.reason == Reason::Operator || b.reason == Reason::Owner ||
                                        verdicts_.down().contains({key, b.backend.address})))
          unused.emplace(key, b.backend.address);
  if (unused_told_ && unused == unused_) return;
  unused_ = std::move(unused);
  unused_told_ = true;
  for (const auto& slot : slots_) slot->set_unused(unused_);
}

std::vector<std::string> Engine::problems() const {
  std::vector<std::string> out = dataplane_.info().problems;
  for (const std::string* error :
       {&collect_error_, &drain_error_, &leftovers_error_, &owners_error_})
    if (!error->empty()) out.push_back(*error);
  for (const std::string& error : reconciler_.problems()) out.push_back(error);
  return out;
}

SteadyTime Engine::next_wakeup() const {
  if (replan_) return SteadyTime::min();
  SteadyTime next = std::min(reconciler_.next_wakeup(), next_collect_);
  if (!watched_.empty()) next = std::min(next, next_look_);
  if (const auto at = saver_.next_save(saved_slots())) next = std::min(next, *at);
  const SteadyTime judged = next_deadline();
  // Deadlines stand still: what is due by them comes when they go on.
  return std::min(next, clocks_.steady() < judge_from_ ? std::max(judged, judge_from_) : judged);
}

SteadyTime Engine::next_deadline() const {
  SteadyTime next = deadline_.value_or(SteadyTime::max());
  if (const auto at = drains_.next_end()) next = std::min(next, *at);
  for (const auto& slot : slots_)
    if (const auto at = slot->next_recheck()) next = std::min(next, *at);
  return next;
}

}  // namespace lb
