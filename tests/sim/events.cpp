// What befalls an lbd: the truth changes, clients come and go, operators order, sources lie, and the host
// is not what it was.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "sim/history.h"

namespace lb::sim {

void History::befall() {
  const std::size_t dice = world_.random.below(100);
  if (dice < 25) return change_truth();
  if (dice < 60) return use_it();
  if (dice < 73) return operate();
  if (dice < 88) return disturb_sources();
  disturb_host();
}

std::vector<Instance*> History::listed(std::size_t source) {
  std::vector<Instance*> out;
  for (auto& [address, instance] : world_.instances)
    if (instance.source == source && instance.listed) out.push_back(&instance);
  return out;
}

void History::end(Instance& instance) {
  if (!instance.running) return;
  // The last but one of those that are silent together would leave one that is silent alone.
  if (sources_[instance.source].etcd.cut_off) {
    endings_.emplace_back(world_.now.steady + milliseconds(2'000), instance.address);
    return;
  }
  world_.end(instance);
  scripts_[instance.source]->ended(instance);
}

void History::start_some(std::size_t index, std::size_t count) {
  const ServiceKey key = world_.random.pick(sources_[index].services);
  std::string origin = fmt::format("/app{}", key.port);
  Port newest = 0;
  for (const Instance* other : listed(index))
    if (other->service == key && other->address.port > newest) {
      newest = other->address.port;
      origin = other->origin;
    }
  for (; count > 0; --count) world_.start(key, origin, index);
  scripts_[index]->edited();
}

// A deployment: all new ones run before the first of the old ones ends.
void History::replace_all(std::size_t index) {
  const std::vector<Instance*> old = listed(index);
  for (const Instance* each : old) world_.start(each->service, each->origin, index);
  scripts_[index]->edited();
  for (const Instance* each : old)
    endings_.emplace_back(
        world_.now.steady + world_.random.between(milliseconds(1'000), milliseconds(20'000)),
        each->address);
}

// Another app on the same port; the first one ends when the second runs.
void History::blue_green(std::size_t index) {
  if (sources_[index].type != Type::Marathon || !endings_.empty()) return;
  const std::vector<Instance*> old = listed(index);
  if (old.empty()) return;
  const ServiceKey key = old.front()->service;
  const std::string origin =
      fmt::format("/{}{}", world_.random.chance(50) ? "a" : "z", ++next_number_);
  for (std::size_t n = 1 + world_.random.below(3); n > 0; --n) world_.start(key, origin, index);
  scripts_[index]->edited();
  const auto wait = world_.random.between(milliseconds(500), milliseconds(20'000));
  for (const Instance* each : old)
    if (each->service == key)
      endings_.emplace_back(
          world_.now.steady + wait + world_.random.between(milliseconds(0), milliseconds(300)),
          each->address);
}

// A file that is rewritten lacks it for a moment.
void History::leave_and_return(std::size_t index) {
  if (sources_[index].type != Type::File) return;
  const std::vector<Instance*> all = listed(index);
  if (all.empty()) return;
  Instance& one = *all[world_.random.below(all.size())];
  world_.say("out of its file: " + one.id);
  world_.unlist(one);
  scripts_[index]->edited();
  comebacks_.emplace_back(
      world_.now.steady + world_.random.between(milliseconds(100), milliseconds(3'000)),
      one.address);
}

void History::change_truth() {
  const std::size_t index = world_.random.below(sources_.size());
  const std::vector<Instance*> all = listed(index);
  const std::size_t dice = world_.random.below(100);
  if (dice < 45) {
    if (all.size() < 8) start_some(index, 1 + world_.random.below(2));
  } else if (dice < 80) {
    if (!all.empty()) end(*all[world_.random.below(all.size())]);
  } else if (dice < 87) {
    if (all.size() < 6 && endings_.empty()) replace_all(index);
  } else if (dice < 93) {
    blue_green(index);
  } else {
    leave_and_return(index);
  }
}

void History::connect(const ServiceKey& key) {
  const std::set<Address> used = World::in_use(kernel_.service(key));
  if (used.empty()) return;
  const Address address =
      *std::next(used.begin(), static_cast<std::ptrdiff_t>(world_.random.below(used.size())));
  if (world_.answers(address)) {
    ++world_.active[{key, address}];
    return;
  }
  ConnectFailure failure;
  failure.kind = world_.host_cut_off ? ConnectFailure::Kind::Other : ConnectFailure::Kind::Refused;
  failure.error = world_.host_cut_off ? EHOSTUNREACH : ECONNREFUSED;
  failure.service = key;
  failure.backend = address;
  failure.plain = true;
  world_.say("a connect to " + address.to_string() + " fails");
  for (std::size_t i = 0; i < sources_.size(); ++i)
    if (std::find(sources_[i].services.begin(), sources_[i].services.end(), key) !=
            sources_[i].services.end() &&
        scripts_[i]->connect_failed(failure)) {
      failure.confirmed = true;  // lbd meets the same
      (void)scripts_[i]->connect_failed(failure);
    }
}

// Clients.
void History::use_it() {
  const SourceModel& model = world_.random.pick(sources_);
  const ServiceKey key = model.services[world_.random.below(model.services.size())];
  if (world_.random.chance(55)) {
    for (std::size_t n = 1 + world_.random.below(4); n > 0; --n) connect(key);
    return;
  }
  const bool all = world_.random.chance(20);
  for (auto& [id, count] : world_.active)
    if (id.first == key && count > 0) count = all ? 0 : count - 1;
  std::erase_if(world_.active, [](const auto& each) { return each.second == 0; });
}

void History::disturb_sources() {
  const std::size_t index = world_.random.below(sources_.size());
  Script& script = *scripts_[index];
  const bool is_new = !engine_->slots()[index]->delivered();
  const std::size_t dice = world_.random.below(100);
  if (dice < 40) {
    // A source in the place of another has nothing that its first words could be compared with.
    if (!is_new) script.lie(Script::Mood::ShortOnce, {});
    script.edited();
  } else if (dice < 48) {
    if (!is_new && sources_[index].type == Type::Marathon) {
      world_.say("Marathon lists nothing");
      script.lie(Script::Mood::Empty, world_.now.steady + guard_.total / 2);
    }
  } else if (dice < 65) {
    script.lie(Script::Mood::Fails,
               world_.now.steady + world_.random.between(milliseconds(500), milliseconds(30'000)));
  } else if (dice < 85) {
    script.befall();
  } else {
    const std::vector<Instance*> all = listed(index);
    if (all.empty()) return;
    Instance& one = *all[world_.random.below(all.size())];
    const bool quiet = sources_[index].type == Type::Merlion && world_.random.chance(50);
    bool& fault = quiet ? one.quiet : one.refuses;
    fault = !fault;
    if (!fault) one.good_from = world_.now.steady + milliseconds(60'000);
    world_.say(fmt::format("{} {} {}", one.id, quiet ? "silent" : "refuses", fault));
  }
}

// lbd stands still while the world goes on.
void History::freeze() {
  const bool long_one = world_.random.chance(20);
  const auto time = world_.random.between(
      milliseconds(1'000), long_one ? milliseconds(1'200'000) : milliseconds(30'000));
  world_.say(fmt::format("SIGSTOP for {} ms", time.count()));
  world_.now.steady += time;
  world_.now.wall += time;
  for (Script* script : scripts_) script->slept();
}

void History::disturb_host() {
  const std::size_t dice = world_.random.below(100);
  static constexpr std::pair<std::size_t, const char*> kShares[] = {
      {15, "clock"},  {30, "freeze"}, {40, "route"}, {60, "disk"},
      {70, "writes"}, {75, "tamper"}, {100, "kill"}};
  for (const auto& [share, fault] : kShares)
    if (dice < share) {
      if (!has(fault)) return;
      break;
    }
  if (dice < 15) {
    const milliseconds hours[] = {std::chrono::hours(1), std::chrono::hours(24)};
    const milliseconds step = hours[world_.random.below(2)];
    world_.now.wall += world_.random.chance(50) ? step : -step;
    world_.say("the clock is set");
  } else if (dice < 30) {
    freeze();
  } else if (dice < 40) {
    world_.say("no route to any backend");
    world_.host_cut_off = true;
    world_.cut_off_until = SteadyTime::max() - std::chrono::hours(1);
    host_back_ = world_.now.steady + world_.random.between(milliseconds(500), milliseconds(8'000));
  } else if (dice < 60) {
    disk_.set(static_cast<Disk::Mood>(world_.random.chance(40) ? 0 : world_.random.below(4)));
  } else if (dice < 70) {
    kernel_.failing_writes = 1 + static_cast<unsigned>(world_.random.below(3));
  } else if (dice < 75) {
    const SourceModel& model = world_.random.pick(sources_);
    world_.say("another hand removes " + model.services.front().to_string());
    kernel_.lose(model.services.front());
  } else if (dice < 88) {
    kernel_.kill_in = static_cast<unsigned>(world_.random.below(3));
    kernel_.kill_after_write = world_.random.chance(50);
  } else {
    throw Killed();
  }
}

}  // namespace lb::sim
