// What operators do to an lbd of a history: drains of their own and of the fleet, stops, reloads.
#include <algorithm>

#include <fmt/format.h>

#include "sim/history.h"

namespace lb::sim {

Order* History::find_order(unsigned number) {
  for (Order& order : world_.orders)
    if (order.number == number) return &order;
  return nullptr;
}

// The answer comes when it is on disk and no hook can be using the backend any more.
void History::watch_order(unsigned number) {
  engine_->save_orders([this, number](const Result<>& saved) {
    Order* order = find_order(number);
    if (order == nullptr || !saved) return;
    order->saved = true;
  });
  kernel_.settle([this, number](const Result<>&) {
    if (Order* order = find_order(number)) order->answered = true;
  });
}

void History::drain(bool host, bool terminate) {
  std::vector<Instance*> all = listed(world_.random.below(sources_.size()));
  if (all.empty()) return;
  const Instance& one = *all[world_.random.below(all.size())];
  Drain drain;
  drain.since = world_.now.wall;
  drain.target = host ? Drain::Target(one.address.ip.to_string()) : Drain::Target(one.address);
  const auto timeout = world_.random.between(milliseconds(500), milliseconds(8'000));
  if (terminate) drain.terminate_at = Deadline::in(timeout, world_.now);
  if (!covers_any(drain, engine_->reconciler().desired())) return;
  Order order{.number = ++next_number_, .address = one.address, .host = host, .ids = {one.id}};
  if (terminate) order.terminate_at = world_.now.steady + timeout;
  world_.say(fmt::format("drain {}", host ? one.address.ip.to_string() : one.address.to_string()));
  // Another source is about to come, and may have another name for it.
  order.doubtful = !host && !engine_->former().slots.empty();
  world_.orders.push_back(order);
  if (auto added = engine_->drains().add(drain); !added)
    world_.fail("a drain is refused: " + added.error().message());
  engine_->replan_soon();
  engine_->apply_all();
  watch_order(order.number);
}

void History::undrain() {
  if (engine_->drains().all().empty()) return;
  const Drain drain = engine_->drains().all()[world_.random.below(engine_->drains().all().size())];
  if (!drain.fleet.empty()) {
    for (const auto& known : fleet_->all())
      if (known.order.id == drain.fleet) return fleet_undrain(FleetOrder(known.order));
    return;
  }
  world_.say("undrain " + to_string(drain.target));
  (void)engine_->drains().remove(drain.target);
  std::vector<unsigned> numbers;
  for (Order& order : world_.orders) {
    const Drain::Target target =
        order.host ? Drain::Target(order.address.ip.to_string()) : Drain::Target(order.address);
    // One that was found in the kernel alone stands for whatever order there was.
    const auto* address = std::get_if<Address>(&drain.target);
    const auto& left = engine_->drains().all();
    const bool stands_for =
        drain.recovered && address != nullptr &&
        (order.host ? order.address.ip == address->ip : order.address == *address) &&
        std::none_of(left.begin(), left.end(),
                     [&](const Drain& other) { return other.target == target; });
    if (!stands_for && (order.fleet || target != drain.target)) continue;
    order.doubtful = true;  // until the kernel has, and it is saved, that it is none
    numbers.push_back(order.number);
  }
  engine_->replan_soon();
  engine_->apply_all();
  engine_->save_orders([this, numbers](const Result<>& saved) {
    if (!saved || !engine_->reconciler().failures().empty()) return;
    std::erase_if(world_.orders, [&](const Order& order) {
      return std::find(numbers.begin(), numbers.end(), order.number) != numbers.end();
    });
  });
}

void History::fleet_drain() {
  std::vector<Instance*> all = listed(world_.random.below(sources_.size()));
  if (all.empty()) return;
  const Instance& one = *all[world_.random.below(all.size())];
  FleetOrder given{.id = fmt::format("f{}", ++next_number_),
                   .time = world_.now.wall,
                   .target = one.address.to_string(),
                   .service = "",
                   .ids = {}};
  for (const auto& [key, service] : engine_->reconciler().desired())
    for (const DesiredBackend& b : service->backends)
      if (b.backend.address == one.address && !b.departed) given.ids.push_back(b.backend.id);
  if (given.ids.empty()) return;
  if (const auto* known = fleet_->find(given.target, ""))
    given.time = std::max(given.time, known->order.time + milliseconds(1));
  if (!fleet_->adopt(given)) return;
  world_.say("drain " + given.target + " in all the fleet");
  world_.orders.push_back({.number = next_number_,
                           .address = one.address,
                           .ids = {one.id},
                           .doubtful = !engine_->former().slots.empty(),
                           .fleet = true});
  apply_fleet();
  engine_->apply_all();
  watch_order(next_number_);
}

void History::fleet_undrain(const FleetOrder& order) {
  FleetOrder end = order;
  end.id = fmt::format("f{}", ++next_number_);
  end.drain = false;
  end.time = std::max(world_.now.wall, order.time + milliseconds(1));
  if (!fleet_->adopt(end)) return;
  world_.say("undrain " + order.target + " in all the fleet");
  std::vector<unsigned> numbers;
  for (Order& each : world_.orders)
    if (each.fleet && each.address.to_string() == order.target) {
      each.doubtful = true;
      numbers.push_back(each.number);
    }
  apply_fleet();
  engine_->save_orders([this, numbers](const Result<>& saved) {
    if (!saved) return;
    std::erase_if(world_.orders, [&](const Order& each) {
      return std::find(numbers.begin(), numbers.end(), each.number) != numbers.end();
    });
  });
}

void History::undrain_all() {
  for (const auto& known : std::vector(fleet_->all()))
    if (known.order.drain) fleet_undrain(known.order);
  for (const Drain& drain : std::vector(engine_->drains().all()))
    if (drain.fleet.empty()) (void)engine_->drains().remove(drain.target);
  engine_->replan_soon();
  world_.orders.clear();
}

void History::operate() {
  const std::size_t dice = world_.random.below(100);
  if (dice >= 90 && dice < 94) {
    if (has("restart")) stop_and_start();
    return;
  }
  at_rest_ = false;
  if (dice < 30) return drain(false, false);
  if (dice < 40) return drain(true, false);
  if (dice < 50) return drain(false, true);
  if (dice < 60) return fleet_drain();
  if (dice < 90) return undrain();
  if (!has("reload")) return;
  if (dice < 97) return rename_source();
  replace_source();
}

void History::stop_and_start() {
  world_.say("lbd is stopped");
  const bool at_rest = at_rest_;
  engine_->save_all();
  restart(at_rest && disk_.clean());
}

// Its first locator changes, and it has no name of its own.
void History::rename_source() {
  if (!engine_->former().slots.empty()) return;
  const std::size_t index = world_.random.below(sources_.size());
  SourceModel& model = sources_[index];
  SourceSlots slots = engine_->slots();
  model.name = fmt::format("source{}.{}", index, ++next_number_);
  world_.say("reload: " + slots[index]->name() + " is " + model.name);
  const auto old = slots[index];
  slots[index] = make_slot(index, model.name);
  slots[index]->continue_from(*old);
  attach(*slots[index], index, world_.random.between(milliseconds(0), milliseconds(15'000)));
  engine_->configure(settings_, std::move(slots));
}

// One of another kind, with other words for the same.
void History::replace_source() {
  const std::size_t index = world_.random.below(sources_.size());
  SourceModel& model = sources_[index];
  if (!engine_->former().slots.empty() || !model.former.empty() || !endings_.empty()) return;
  std::set<std::string> origins;
  for (const Instance* each : listed(index)) origins.insert(each->origin);
  if (origins.size() > model.services.size()) return;
  SourceSlots slots = engine_->slots();
  const auto old = slots[index];
  if (!old->snapshot()) return;
  model.former = model.name;
  model.name = model.saved_as = fmt::format("source{}.{}", index, ++next_number_);
  const bool one = model.services.size() == 1;
  model.type = static_cast<Type>(world_.random.below(one ? 3 : 2));
  world_.say("reload: " + model.name + " in the place of " + model.former);
  FormerSources former;
  former.slots.push_back(make_slot(index, model.former));
  former.slots.back()->continue_from(*old);
  slots[index] = make_slot(index, model.name);
  former.until.push_back(slots[index]);
  attach(*slots[index], index, world_.random.between(milliseconds(0), milliseconds(15'000)));
  scripts_[index]->edited();
  // An order for an address means a backend by its name, and the other source may have another.
  for (Order& order : world_.orders)
    if (const auto found = world_.instances.find(order.address);
        !order.host && found != world_.instances.end() && found->second.source == index)
      order.doubtful = true;
  engine_->configure(settings_, std::move(slots), std::move(former));
}

}  // namespace lb::sim
