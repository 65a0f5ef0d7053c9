#include "sim/world.h"

#include <algorithm>
#include <iostream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "state/drains.h"

namespace lb::sim {
namespace {

std::set<Address> both(const std::set<Address>& a, const std::set<Address>& b) {
  std::set<Address> out;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
  return out;
}

}  // namespace

std::string World::names(const std::set<Address>& addresses) {
  std::vector<std::string> out;
  for (const Address& a : addresses) out.push_back(a.to_string());
  return fmt::format("{{{}}}", fmt::join(out, " "));
}

void World::say(const std::string& line) const {
  if (trace)
    std::cout << fmt::format(
        "{:>9} ms  {}\n",
        (now.steady.time_since_epoch() - std::chrono::hours(1000)) / milliseconds(1), line);
}

void World::fail(const std::string& what) const {
  say("VIOLATION: " + what);
  throw Violation(what);
}

Instance& World::start(const ServiceKey& service, const std::string& origin, std::size_t source) {
  const unsigned n = ++next_instance_;
  Instance out;
  // Machines have several backends each, so that a host's drain means more than one.
  out.address = {IpAddress::v4(0x0a000000U | (1 + n % 7)), static_cast<Port>(20'000 + n)};
  out.id = fmt::format("{}.{}", origin, n);
  out.service = service;
  out.origin = origin;
  out.source = source;
  say(fmt::format("start {} {} of {}", out.id, out.address.to_string(), service.to_string()));
  return instances.insert_or_assign(out.address, out).first->second;
}

void World::end(Instance& instance) {
  say("end " + instance.id);
  instance.running = false;
  for (auto& [id, count] : active)
    if (id.second == instance.address) count = 0;
  unlist(instance);
}

void World::unlist(Instance& instance) {
  instance.listed = false;
  if (!instance.unlisted_at) instance.unlisted_at = now.steady;
  instance.left_at = now.steady;
}

bool World::answers(const Address& address) const {
  const auto found = instances.find(address);
  return !host_cut_off && found != instances.end() && found->second.running &&
         !found->second.refuses;
}

// One of an address ends some minutes after its backend has left.
void World::age_orders() {
  // Nothing of lbd's or of an order's is left of those that ended long ago.
  std::erase_if(instances, [&](const auto& each) {
    const Instance& one = each.second;
    return !one.running && one.unlisted_at &&
           now.steady - *one.unlisted_at > std::chrono::minutes(30) &&
           std::none_of(orders.begin(), orders.end(),
                        [&](const Order& order) { return order.address == one.address; });
  });
  for (Order& order : orders) {
    const auto found = instances.find(order.address);
    if (order.host || found == instances.end()) continue;
    const auto& since = found->second.unlisted_at;
    if (since && now.steady - *since >= Drains::kRest) order.doubtful = true;
  }
}

std::set<Address> World::good(const ServiceKey& key) const {
  std::set<Address> out;
  for (const auto& [address, instance] : instances)
    if (instance.service == key && instance.good(now.steady) &&
        !is_ordered(instance, [](const Order&) { return true; }))
      out.insert(address);
  return out;
}

std::set<Address> World::in_use(const ProgrammedService* service) {
  std::set<Address> out;
  if (service == nullptr || service->addresses.empty()) return out;
  for (const ProgrammedBackend& b : service->backends)
    if (b.weight > 0) out.insert(b.address);
  return out;
}

void World::judge(const ServiceKey& key, const ProgrammedService* before,
                  const ProgrammedService* after) {
  const std::set<Address> was = in_use(before), used = in_use(after);
  if (trace && was != used)
    say(fmt::format("kernel {} {} -> {}", key.to_string(), names(was), names(used)));
  // What lbd cannot know yet is not held against it: one that is there, and refuses or is silent, or
  // has just gone. Nor what takes four faults at once: that all have failed is judged without those that
  // are drained, of which the source hears a moment later.
  const std::set<Address> must = good(key);
  const bool some_left =
      std::any_of(used.begin(), used.end(),
                  [&](const Address& a) {
                    const auto found = instances.find(a);
                    if (found == instances.end()) return false;
                    const Instance& instance = found->second;
                    return (instance.running && instance.listed) ||
                           (instance.unlisted_at &&
                            now.steady - *instance.unlisted_at < milliseconds(3'000));
                  }) ||
      (now.steady < cut_off_until + milliseconds(15'000) && !orders.empty());
  if (!both(was, must).empty() && !some_left)
    fail(fmt::format("{} loses its last good backend: {} -> {}, good are {}", key.to_string(),
                     names(was), names(used), names(must)));
  judge_new(key, used);
  judge_gone(key, before, after);
  for (const Address& a : was)
    if (!used.contains(a)) out_since_[{key, a}] = now.steady;
  for (const Address& a : used) out_since_.erase({key, a});
}

void World::judge_new(const ServiceKey& key, const std::set<Address>& used) {
  std::set<std::string> origins;
  for (const Address& address : used) {
    const auto found = instances.find(address);
    if (found == instances.end()) continue;
    origins.insert(found->second.origin);
    if (is_ordered(found->second, [](const Order& o) { return o.answered && !o.doubtful; }))
      fail(fmt::format("{} is drained, and takes new connections of {}", address.to_string(),
                       key.to_string()));
  }
  if (origins.size() > 1)
    fail(fmt::format("{} has backends of {} in use at once", key.to_string(),
                     fmt::join(origins, " and ")));
}

void World::judge_gone(const ServiceKey& key, const ProgrammedService* before,
                       const ProgrammedService* after) {
  if (before == nullptr) return;
  std::set<Address> still;
  if (after != nullptr)
    for (const ProgrammedBackend& b : after->backends) still.insert(b.address);
  for (const ProgrammedBackend& b : before->backends) {
    const auto count = active.find({key, b.address});
    if (still.contains(b.address) || count == active.end() || count->second == 0) continue;
    // Counted from when it left, also where the kernel took no write since.
    const auto since = out_since_.find({key, b.address});
    const auto known = instances.find(b.address);
    const auto left = known != instances.end() ? known->second.left_at : std::nullopt;
    const SteadyTime from = std::min(since != out_since_.end() ? since->second : SteadyTime::max(),
                                     left.value_or(SteadyTime::max()));
    // As the last resort it got connections until the look that found none; one may just have come.
    if (b.weight > 0 && left) continue;
    if (from == SteadyTime::max() || now.steady - from < drain_timeout)
      fail(fmt::format("{} of {} is dropped with {} connections, before its deadline",
                       b.address.to_string(), key.to_string(), count->second));
  }
}

void World::judge_termination(const Id& id) {
  const auto count = active.find(id);
  if (count == active.end() || count->second == 0) return;
  const auto since = out_since_.find(id);
  const auto instance = instances.find(id.second);
  const bool ordered =
      instance != instances.end() && is_ordered(instance->second, [&](const auto& o) {
        return o.terminate_at && *o.terminate_at <= now.steady;
      });
  const SteadyTime out =
      std::min(since != out_since_.end() ? since->second : SteadyTime::max(),
               instance != instances.end() ? instance->second.left_at.value_or(SteadyTime::max())
                                           : SteadyTime::max());
  const bool left = out != SteadyTime::max() && now.steady - out >= drain_timeout;
  if (!ordered && !left)
    fail(fmt::format("{} connections of {} are ended before the deadline", count->second,
                     id.second.to_string()));
}

}  // namespace lb::sim
