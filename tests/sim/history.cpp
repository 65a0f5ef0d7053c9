#include "sim/history.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "sim/file_script.h"
#include "sim/marathon_script.h"
#include "state/store.h"

namespace lb::sim {
namespace {

constexpr milliseconds kProbe{2'000};
constexpr unsigned kRise = 2, kFall = 3;

std::string read_name(std::size_t index) { return fmt::format("source{}", index); }

}  // namespace

History::History(std::uint64_t seed, std::string folder, bool trace, std::set<std::string> without)
    : folder_(std::move(folder)),
      without_(std::move(without)),
      world_(seed),
      kernel_(world_),
      disk_(world_, folder_) {
  world_.trace = trace;
}

History::~History() = default;

void History::run() {
  set_up();
  guarded([&] { start(true); });
  guarded([&] { live(milliseconds(3'000)); });
  // Short histories find most, and long ones what takes time.
  const std::size_t events =
      200 + (world_.random.chance(80) ? world_.random.below(200) : world_.random.below(1'800));
  for (std::size_t i = 0; i < events; ++i) {
    ++steps_;
    guarded([&] { befall(); });
    const std::size_t pace = world_.random.below(100);
    const milliseconds longest(pace < 70 ? 100 : pace < 97 ? 1'000 : 15'000);
    guarded([&] { live(world_.random.between(milliseconds(0), longest)); });
  }
  end_well();
}

void History::set_up() {
  guard_.confirm = world_.random.between(milliseconds(3'000), milliseconds(10'000));
  guard_.total = world_.random.between(milliseconds(20'000), milliseconds(60'000));
  guard_.files = world_.random.chance(20);
  settings_.drain_timeout = world_.random.between(milliseconds(2'000), milliseconds(15'000));
  settings_.terminate_on_timeout = world_.random.chance(30);
  world_.drain_timeout = settings_.drain_timeout;
  const std::size_t count = 1 + world_.random.below(3);
  Port port = 8000;
  for (std::size_t i = 0; i < count; ++i) {
    SourceModel model{.type = static_cast<Type>(world_.random.below(3)),
                      .name = read_name(i),
                      .services = {},
                      .checks = world_.random.chance(40)};
    model.saved_as = model.name;
    const std::size_t services = model.type == Type::Merlion ? 1 : 1 + world_.random.below(2);
    for (std::size_t s = 0; s < services; ++s)
      model.services.push_back({Protocol::Tcp, IpAddress::v4(0x7f000001), port++});
    sources_.push_back(std::move(model));
    for (const ServiceKey& key : sources_[i].services)
      for (std::size_t n = 1 + world_.random.below(4); n > 0; --n)
        world_.start(key, fmt::format("/app{}", key.port), i);
    sources_[i].etcd.heartbeat_at = world_.now.steady;
    static constexpr const char* kNames[] = {"file", "marathon", "merlion"};
    world_.say(fmt::format("{} is {}{}", sources_[i].name,
                           kNames[static_cast<std::size_t>(sources_[i].type)],
                           sources_[i].checks ? ", with checks" : ""));
  }
}

std::shared_ptr<SourceSlot> History::make_slot(std::size_t index, const std::string& name) {
  const char* type = sources_[index].type == Type::File ? "file" : "other";
  return std::make_shared<SourceSlot>(name, type, PortRanges(), guard_);
}

void History::attach(SourceSlot& slot, std::size_t index, milliseconds first) {
  SourceModel& model = sources_[index];
  const Snapshot* saved = slot.snapshot();
  std::unique_ptr<Script> script;
  switch (model.type) {
    case Type::File:
      script = std::make_unique<FileScript>(world_, index, model.checks, first);
      break;
    case Type::Marathon:
      script = std::make_unique<MarathonScript>(world_, index, saved, first);
      break;
    case Type::Merlion:
      script = std::make_unique<MerlionScript>(world_, index, model.services.front(), model.etcd,
                                               saved, first);
      break;
  }
  scripts_.resize(sources_.size());
  scripts_[index] = script.get();
  slot.source = std::move(script);
}

// As App::open(): what is known so far goes to the kernel before any source says a word.
void History::start(bool first) {
  at_rest_ = false;
  problems_ = std::make_unique<SavedProblems>();
  const SnapshotStore store(folder_ + "/sources");
  SourceSlots slots;
  FormerSources former;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    SourceModel& model = sources_[i];
    slots.push_back(make_slot(i, model.name));
    if (model.former.empty()) (void)slots[i]->load(store, model.saved_as);
    if (!slots[i]->snapshot()) (void)slots[i]->load(store);
    if (model.former.empty()) continue;
    if (!slots[i]->snapshot()) former.until.push_back(slots[i]);
    auto old = make_slot(i, model.former);
    (void)old->load(store);
    if (old->snapshot()) former.slots.push_back(std::move(old));
  }
  auto opened = Engine::open(
      kernel_, folder_, settings_,
      {.shadow = false,
       .read_listeners = [] { return std::vector<Listener>{}; },
       .name_listener = {},
       .random = [this] { return static_cast<std::uint32_t>(world_.random.next()); }},
      {.wall = [this] { return world_.now.wall; }, .steady = [this] { return world_.now.steady; }},
      slots, *problems_);
  if (!opened) world_.fail("lbd does not start: " + opened.error().message());
  engine_ = *std::move(opened);
  if (!former.slots.empty()) engine_->configure(settings_, slots, std::move(former));
  engine_->catch_up();
  for (std::size_t i = 0; i < sources_.size(); ++i)
    attach(*slots[i], i, world_.random.between(milliseconds(0), milliseconds(2'000)));
  engine_->save_in([this](auto job, auto done) { disk_.run(std::move(job), std::move(done)); },
                   [this](auto) { return disk_.finish(); });
  auto orders = FleetOrders::open(folder_ + "/fleet.json");
  fleet_ = std::make_unique<FleetOrders>(orders ? *std::move(orders)
                                                : FleetOrders::without(folder_ + "/fleet.json"));
  engine_->save_also(saved_orders(*fleet_));
  apply_fleet();
  engine_->set_local_addresses({IpAddress::v4(0x7f000001)});
  probes_.clear();
  for (const auto& [id, verdict] : engine_->down())
    probes_.insert_or_assign(id, Dampener(kRise, kFall, false));
  next_probe_ = world_.now.steady + kProbe;
  if (!first) world_.say("lbd starts");
  engine_->apply_all();
}

void History::apply_fleet() {
  std::vector<Drain> drains;
  for (const FleetOrders::Known& known : fleet_->all()) {
    if (!known.order.drain || known.ended) continue;
    Drain drain;
    drain.target = Drain::parse_target(known.order.target).value();
    drain.since = known.order.time;
    drain.ids = known.order.ids;
    drain.fleet = known.order.id;
    drains.push_back(std::move(drain));
  }
  engine_->drains().set_fleet(std::move(drains));
  engine_->replan_soon();
}

SteadyTime History::next_due() const {
  SteadyTime next = std::min(
      {engine_->next_wakeup(), disk_.next_due(), kernel_.next_due(), next_probe_, host_back_});
  for (const Script* script : scripts_) next = std::min(next, script->next_due());
  for (const auto* timers : {&comebacks_, &endings_})
    for (const auto& [at, address] : *timers) next = std::min(next, at);
  return next;
}

void History::live(milliseconds time) {
  const SteadyTime until = world_.now.steady + time;
  for (;;) {
    pump();
    const SteadyTime next = std::max(next_due(), world_.now.steady + milliseconds(1));
    if (next > until) break;
    // Timers of a millisecond's fraction are looked at when it is over.
    const auto step = std::chrono::ceil<milliseconds>(next - world_.now.steady);
    world_.now.steady += step;
    world_.now.wall += step;
  }
  if (until <= world_.now.steady) return;
  const auto rest = std::chrono::duration_cast<milliseconds>(until - world_.now.steady);
  world_.now.steady += rest;
  world_.now.wall += rest;
}

// One wake-up of the loop. What is ready comes in any order: after a pause lbd's own timers may be first.
void History::pump() {
  world_.age_orders();
  if (host_back_ <= world_.now.steady) {
    world_.host_cut_off = false;
    world_.cut_off_until = world_.now.steady;
    host_back_ = SteadyTime::max();
  }
  std::erase_if(comebacks_, [&](const auto& each) {
    if (each.first > world_.now.steady) return false;
    const auto found = world_.instances.find(each.second);
    if (found == world_.instances.end() || !found->second.running) return true;
    world_.say("back in its file: " + found->second.id);
    found->second.listed = true;
    found->second.unlisted_at.reset();
    found->second.good_from = world_.now.steady + milliseconds(60'000);
    scripts_[found->second.source]->edited();
    return true;
  });
  for (std::size_t i = 0; i < endings_.size();) {
    if (endings_[i].first > world_.now.steady) {
      ++i;
      continue;
    }
    Instance& instance = world_.instances.at(endings_[i].second);
    endings_.erase(endings_.begin() + static_cast<std::ptrdiff_t>(i));
    end(instance);
  }
  at_rest_ = false;
  const bool turn_first = world_.random.chance(30);
  const std::size_t limit = world_.random.chance(80) ? 256 : 1;
  const auto turn = [&] {
    if (engine_->next_wakeup() <= world_.now.steady) {
      for (int i = 0; engine_->turn(limit); ++i)
        if (i > 10'000) world_.fail("a turn does not end");
    }
    for (const Drain& ended : engine_->take_ended_fleet())
      (void)fleet_->end(ended.fleet, world_.now.wall);
  };
  if (turn_first) turn();
  disk_.do_due();
  kernel_.settle_due();
  for (Script* script : scripts_) script->step();
  deliver();
  probe();
  turn();
  note_former();
  at_rest_ = engine_->next_wakeup() > world_.now.steady && engine_->reconciler().failures().empty();
}

void History::deliver() {
  for (std::size_t i = 0; i < scripts_.size(); ++i)
    while (auto out = scripts_[i]->take()) engine_->deliver(*engine_->slots()[i], *out);
}

// What App records of its sources: once that is on disk, a restart knows no former one.
void History::note_former() {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    SourceModel& model = sources_[i];
    if (!disk_.clean() || engine_->slots()[i]->has_unsaved()) continue;
    model.saved_as = model.name;
    if (engine_->former().slots.empty()) model.former.clear();
  }
}

void History::probe() {
  if (next_probe_ > world_.now.steady) return;
  next_probe_ = world_.now.steady + kProbe;
  HealthVerdicts verdicts;
  for (const ServicePtr& service : engine_->checked())
    for (const Backend& backend : service->backends) {
      const Id id{service->key, backend.address};
      Dampener& dampener = probes_.try_emplace(id, kRise, kFall).first->second;
      (void)dampener.add(world_.answers(backend.address));
      if (!dampener.up()) continue;
      const auto before = engine_->down().find(id);
      const bool still = before != engine_->down().end() && !*dampener.up();
      verdicts[id] = {.up = *dampener.up(),
                      .since = still ? before->second.since : world_.now.wall,
                      .error = *dampener.up() ? "" : "connect: Connection refused"};
    }
  engine_->set_health(verdicts);
}

std::map<ServiceKey, std::set<Address>> History::in_use() const {
  std::map<ServiceKey, std::set<Address>> out;
  for (const auto& [key, service] : kernel_.services()) out[key] = World::in_use(&service);
  return out;
}

void History::guarded(const std::function<void()>& does) {
  try {
    does();
  } catch (const Killed&) {
    killed();
  }
}

// All that lbd had not saved is forgotten. What was in force before stays in force, if it was saved.
void History::killed() {
  kernel_.kill_in.reset();
  const bool was_saved = disk_.clean() && at_rest_;
  world_.say(was_saved ? "SIGKILL" : "SIGKILL, before all was saved");
  restart(was_saved);
}

void History::restart(bool was_saved) {
  engine_.reset();
  kernel_.forget_waiting();
  disk_.abandon();
  // What was silent with all others before is not remembered by a disk that is behind.
  for (SourceModel& model : sources_) model.etcd.cut_off = false;
  if (!was_saved)
    for (Order& order : world_.orders) order.doubtful = order.doubtful || !order.saved;
  const auto before = in_use();
  const auto pause = world_.random.between(milliseconds(10), milliseconds(3'000));
  world_.now.steady += pause;
  world_.now.wall += pause;
  start(false);
  if (!was_saved) return;
  const auto after = in_use();
  for (const auto& [key, used] : before) {
    const auto found = after.find(key);
    if (found == after.end() || found->second != used)
      world_.fail(key.to_string() + " is changed by a restart");
  }
}

// No fault is left: soon everything is as the truth says, and nothing is left over.
void History::end_well() {
  world_.say("all faults are over");
  disk_.set(Disk::Mood::Good);
  kernel_.failing_writes = 0;
  kernel_.kill_in.reset();
  world_.host_cut_off = false;
  for (auto& [address, instance] : world_.instances) {
    instance.quiet = instance.refuses = false;
    instance.good_from = {};
  }
  for (Script* script : scripts_) script->heal();
  undrain_all();
  for (auto& [id, count] : world_.active) count = 0;
  // Kept back for `total` at most, and then looked at by one more reading.
  const milliseconds longest = guard_.total + std::chrono::minutes(3);
  std::string why;
  for (milliseconds waited{}; waited < longest; waited += milliseconds(5'000)) {
    guarded([&] { live(milliseconds(5'000)); });
    why = why_not_at_rest();
    if (why.empty()) return;
  }
  world_.fail("all is well, and still " + why);
}

void History::describe() const {
  if (!engine_) return;
  for (const auto& slot : engine_->slots())
    world_.say(fmt::format(
        "{}: {}, {} services, {}", slot->name(), slot->delivered() ? "delivered" : "not delivered",
        slot->snapshot() ? slot->snapshot()->services.size() : 0, slot->error()));
  for (const auto& slot : engine_->former().slots)
    world_.say(fmt::format("former {}: {} services", slot->name(),
                           slot->snapshot() ? slot->snapshot()->services.size() : 0));
  for (const Drain& drain : engine_->drains().all())
    world_.say(fmt::format("drain {} {}{} of {}", to_string(drain.target), drain.fleet,
                           drain.recovered ? " recovered" : "", fmt::join(drain.ids, " ")));
  for (const auto& [key, service] : engine_->reconciler().desired()) {
    world_.say(
        fmt::format("{} {}: {}", key.to_string(), to_string(service->condition), service->text));
    for (const DesiredBackend& b : service->backends)
      world_.say(fmt::format("  {} {} {} weight {}{}", b.backend.address.to_string(),
                             to_string(b.state), to_string(b.reason), b.effective_weight,
                             b.departed ? " departed" : ""));
  }
}

std::string History::why_not_at_rest() const {
  if (!engine_->former().slots.empty()) return "a former source is kept";
  for (const auto& slot : engine_->slots())
    if (slot->held()) return slot->name() + " is held: " + slot->held()->text;
  if (!engine_->reconciler().failures().empty()) return "a write is tried again";
  for (const std::string& problem : engine_->problems()) return "there is a problem: " + problem;
  for (const std::string& problem : problems_->all()) return "there is a problem: " + problem;
  for (const auto& [key, service] : engine_->reconciler().desired())
    for (const DesiredBackend& b : service->backends)
      if (b.departed) return b.backend.address.to_string() + " is still leaving";
  for (const SourceModel& model : sources_)
    for (const ServiceKey& key : model.services) {
      const auto used = World::in_use(kernel_.service(key));
      const auto must = world_.good(key);
      if (used != must)
        return fmt::format("{} uses {}, and good are {}", key.to_string(), World::names(used),
                           World::names(must));
    }
  return "";
}

}  // namespace lb::sim
