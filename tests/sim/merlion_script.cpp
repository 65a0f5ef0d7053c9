#include "sim/merlion_script.h"

#include <fmt/format.h>

#include "base/time.h"

namespace lb::sim {
namespace {

constexpr std::string_view kUpstream = "/up/";

ServicePtr service_of(const Snapshot* snapshot) {
  return snapshot && !snapshot->services.empty() ? snapshot->services.front() : nullptr;
}

}  // namespace

MerlionScript::MerlionScript(World& world, std::size_t index, const ServiceKey& service,
                             EtcdStore& store, const Snapshot* saved, milliseconds first)
    : Script(world, index),
      store_(store),
      service_(service),
      view_("/conf/" + std::to_string(index), service_of(saved), saved ? saved->as_of : SysTime{}),
      connect_at_(world.now.steady + first) {}

std::string MerlionScript::name_of(const Instance& instance) const {
  return fmt::format("{}{}", kUpstream, instance.id.substr(1));
}

void MerlionScript::send(const std::string& key, const std::string& value, bool erase) {
  etcd::Event event;
  event.is_delete = erase;
  event.kv = {.key = key, .value = value, .mod_revision = 9, .lease = 0};
  if (erase) {
    event.previous =
        etcd::KeyValue{.key = key, .value = store_.values[key], .mod_revision = 8, .lease = 0};
    store_.values.erase(key);
  } else {
    store_.values[key] = value;
  }
  last_arrival_ = std::max(
      last_arrival_, world_.now.steady + world_.random.between(milliseconds(0), milliseconds(30)));
  events_.emplace_back(last_arrival_, std::move(event));
}

void MerlionScript::publish(const Instance& instance) {
  send(name_of(instance) + "/listen-address", instance.address.to_string(), false);
  send(name_of(instance) + "/last-seen-at", format_iso8601(world_.others_wall()), false);
  store_.written.insert(instance.id);
}

void MerlionScript::forget(const Instance& instance) {
  for (const char* key : {"/listen-address", "/last-seen-at"})
    if (store_.values.contains(name_of(instance) + key)) send(name_of(instance) + key, "", true);
  store_.written.erase(instance.id);
}

// Each backend says that it is there; one that has just begun writes all of its keys.
void MerlionScript::heartbeat() {
  store_.heartbeat_at = world_.now.steady + kHeartbeat;
  if (store_.full || store_.cut_off) return;
  for_each_listed([&](const Instance& instance) {
    const bool known = store_.written.contains(instance.id);
    if (!known)
      publish(instance);
    else if (instance.running && !instance.quiet)
      send(name_of(instance) + "/last-seen-at", format_iso8601(world_.others_wall()), false);
  });
}

void MerlionScript::ended(const Instance& instance) { forget(instance); }

void MerlionScript::edited() {
  if (store_.full || store_.cut_off) return;
  for (const auto& [address, instance] : world_.instances) {
    if (instance.source != index_) continue;
    const bool known = store_.written.contains(instance.id);
    if (instance.listed && !known) publish(instance);
    if (!instance.listed && known) forget(instance);
  }
}

void MerlionScript::connect() {
  connect_at_ = SteadyTime::max();
  const Mood now = mood();
  if (now == Mood::Fails) {
    connect_at_ = world_.now.steady + milliseconds(1'000);
    if (!out_) out_ = fail(ECONNREFUSED, "read etcd");
    return;
  }
  const std::string prefix = view_.prefix();
  std::vector<etcd::KeyValue> config{
      {prefix + "/listen-address", service_.to_string().substr(6), 1, 0},
      {prefix + "/upstream-freshness", std::to_string(kFreshness.count()), 1, 0},
      {prefix + "/upstream-service-etcd-prefix", std::string(kUpstream), 1, 0}};
  std::vector<etcd::KeyValue> backends;
  for (const auto& [key, value] : store_.values) backends.push_back({key, value, 1, 0});
  trusted_ = true;
  if (now == Mood::ShortOnce || now == Mood::Empty) {
    world_.say("etcd lists too little");
    trusted_ = false;
    const unsigned share = now == Mood::Empty ? 100 : 60;
    std::erase_if(backends, [&](const auto&) { return world_.random.chance(share); });
    told_the_lie();
    // Another member has it all; long before the guard lets go.
    connect_at_ = world_.now.steady + world_.random.between(milliseconds(100), milliseconds(800));
  }
  if (trusted_) told_the_truth();
  connected_ = synced_ = true;
  events_.clear();
  if (!store_.full) view_.set_full("", world_.now);
  view_.replace_config(config, trusted_, world_.now);
  view_.replace_backends(backends, trusted_, world_.now);
}

void MerlionScript::disconnect(milliseconds wait) {
  connected_ = false;
  events_.clear();
  view_.lost(world_.now);
  connect_at_ = world_.now.steady + wait;
  out_ = fail(ECONNRESET, "watch etcd");
}

void MerlionScript::build() {
  if (!view_.dirty()) return;
  const auto built = view_.build([](const std::string&) { return MerlionView::Lookup{}; });
  if (!synced_) return;
  if (built.service == built_ && !out_) return;
  built_ = built.service;
  Snapshot said;
  said.as_of = world_.now.wall;
  said.lapses = true;
  if (built.absence == Absence::Guarded || view_.suspicious(world_.now))
    said.absence = Absence::Guarded;
  if (built.absence == Absence::Guarded || view_.suspicious_listing(world_.now))
    said.lapses = false;
  if (built.service) said.services.push_back(built.service);
  out_ = std::move(said);
}

// What goes on in etcd, whether lbd looks or not.
void MerlionScript::pass_time() {
  const SteadyTime now = world_.now.steady;
  if ((store_.full || store_.cut_off) && store_.trouble_ends <= now) {
    store_.full = store_.cut_off = false;
    store_.heartbeat_at = now;
    edited();
  }
  if (store_.heartbeat_at <= now) heartbeat();
}

void MerlionScript::slept() {
  pass_time();
  for (auto& [at, event] : events_) at = std::min(at, world_.now.steady);
}

void MerlionScript::step() {
  const SteadyTime now = world_.now.steady;
  pass_time();
  // lbd judges what is due before it reads: that is why it asks before it believes.
  if (connected_ && view_.next_look() <= now) view_.tick(world_.now);
  if (connected_ && !store_.full) view_.set_full("", world_.now);
  if (connect_at_ <= now) connect();
  if (!connected_) {
    events_.clear();
  } else {
    for (const auto& [at, event] : events_)
      if (at <= now) view_.apply(event, world_.now);
    std::erase_if(events_, [&](const auto& each) { return each.first <= now; });
    if (view_.unconfirmed() && confirm_at_ == SteadyTime::max())
      confirm_at_ = now + world_.random.between(milliseconds(1), milliseconds(40));
    if (confirm_at_ <= now) {
      confirm_at_ = SteadyTime::max();
      if (store_.full)
        view_.set_full("etcdserver: mvcc: database space exceeded", world_.now);
      else
        view_.confirm(now, world_.now);
    }
  }
  build();
}

SteadyTime MerlionScript::next_due() const {
  SteadyTime next = std::min({connect_at_, store_.heartbeat_at, confirm_at_});
  if (connected_) next = std::min(next, view_.next_look());
  if (store_.full || store_.cut_off) next = std::min(next, store_.trouble_ends);
  for (const auto& [at, event] : events_) next = std::min(next, at);
  return next;
}

void MerlionScript::befall() {
  const auto length = world_.random.between(milliseconds(500), milliseconds(40'000));
  switch (world_.random.below(3)) {
    case 0:
      if (!connected_) return;
      world_.say("etcd is gone for a while");
      return disconnect(std::min(length, milliseconds(20'000)));
    case 1:
      world_.say("etcd is full");
      store_.full = true;
      break;
    default: {
      // One alone that falls silent is its own fault: this is for two and more.
      std::size_t count = 0;
      for_each_listed([&](const Instance& instance) {
        count += !instance.quiet && store_.written.contains(instance.id) ? 1 : 0;
      });
      if (count < 2) return;
      world_.say("heartbeats do not reach etcd");
      store_.cut_off = true;
    }
  }
  store_.trouble_ends = world_.now.steady + length;
}

void MerlionScript::heal() {
  lie(Mood::True, {});
  store_.trouble_ends = world_.now.steady;
  if (!connected_ || !trusted_) connect_at_ = world_.now.steady;
}

bool MerlionScript::connect_failed(const ConnectFailure& failure) {
  return tells_of_backend(failure) && view_.connect_failed(failure, world_.now);
}

}  // namespace lb::sim
