#include "state/departures.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kDeparturesVersion = 1;

const Backend* find_backend(const Service& service, const Address& address) {
  const auto found =
      std::lower_bound(service.backends.begin(), service.backends.end(), address,
                       [](const Backend& b, const Address& a) { return b.address < a; });
  return found != service.backends.end() && found->address == address ? &*found : nullptr;
}

json to_json(const Departures::Key& key, const Departure& departure) {
  json out = {{"service", key.first.to_string()},        {"service_name", departure.service_name},
              {"balance", to_string(departure.balance)}, {"source", departure.source},
              {"backend", to_json(departure.backend)},   {"since", format_iso8601(departure.since)},
              {"terminated", departure.terminated}};
  write_deadline(out, "deadline", departure.deadline);
  if (!departure.origin.empty()) out["origin"] = departure.origin;
  if (departure.timeout) out["timeout"] = format_duration(*departure.timeout);
  return out;
}

Result<std::pair<Departures::Key, Departure>> departure_from(const json& value,
                                                             std::chrono::milliseconds timeout,
                                                             Moment now) {
  Departure out;
  LB_TRY(const ServiceKey key, ServiceKey::parse(value.at("service").get<std::string>()));
  LB_TRY(out.backend, backend_from_json(value.at("backend")));
  LB_TRY(out.balance, parse_balance(value.at("balance").get<std::string>()));
  LB_TRY(out.since, parse_iso8601(value.at("since").get<std::string>()));
  value.at("service_name").get_to(out.service_name);
  value.at("source").get_to(out.source);
  value.at("terminated").get_to(out.terminated);
  if (const auto origin = value.find("origin"); origin != value.end()) origin->get_to(out.origin);
  if (const auto own = value.find("timeout"); own != value.end()) {
    LB_TRY(out.timeout, bounded_duration(own->get<std::string>()));
  }
  LB_TRY(out.deadline, read_deadline(value, "deadline", out.timeout.value_or(timeout), now));
  return std::pair{Departures::Key{key, out.backend.address}, std::move(out)};
}

Result<> write(const std::string& path, const Departures::Map& departures) {
  json list = json::array();
  for (const auto& [key, departure] : departures) list.push_back(to_json(key, departure));
  return write_file_atomically(
      path, encode_json({{"version", kDeparturesVersion}, {"departures", std::move(list)}}));
}

}  // namespace

Result<Departures> Departures::open(std::string path, std::chrono::milliseconds timeout,
                                    Moment now) {
  Departures out(timeout, std::move(path));
  LB_CHECK(load_saved(out.path_, [&](std::string_view text) {
    return decode_json(text, kDeparturesVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("departures")) {
        LB_TRY(auto entry, departure_from(item, timeout, now));
        out.departures_.insert(std::move(entry));
      }
      return {};
    });
  }));
  out.clamp(now);
  return out;
}

void Departures::update(const View& view, Moment now, const HealthVerdicts& down) {
  const Leaving leaving{now, down};
  auto before = before_.begin();
  const auto depart_all = [&](const OwnedService& gone) {
    depart_missing(gone, before_sources_[gone.source], nullptr, leaving);
  };
  std::vector<OwnedService> current;
  current.reserve(view.services.size());
  for (const OwnedService& owned : view.services) {
    if (owned.refused) continue;
    current.push_back(owned);
    for (; before != before_.end() && before->service->key < owned.service->key; ++before)
      depart_all(*before);
    const bool known = before != before_.end() && before->service->key == owned.service->key;
    if (known && before->service == owned.service) {
      ++before;
      continue;  // the same value: nobody left, and who is in it was dropped when it came
    }
    if (known) {
      depart_missing(*before, before_sources_[before->source], owned.service.get(), leaving);
      ++before;
    }
    drop_present(*owned.service);
  }
  for (; before != before_.end(); ++before) depart_all(*before);
  before_ = std::move(current);
  before_sources_.clear();
  for (const auto& source : view.sources) before_sources_.push_back(source.name);
}

void Departures::depart_missing(const OwnedService& before, const std::string& source,
                                const Service* after, const Leaving& leaving) {
  for (const Backend& backend : before.service->backends)
    if (!after || !find_backend(*after, backend.address)) depart(before, source, backend, leaving);
}

void Departures::depart(const OwnedService& owned, const std::string& source,
                        const Backend& backend, const Leaving& leaving) {
  const Service& service = *owned.service;
  Departure departure{.backend = backend,
                      .service_name = service.name,
                      .balance = service.balance,
                      .source = source,
                      .origin = service.origin,
                      .since = leaving.now.wall,
                      .deadline = {},
                      .timeout = service.drain_timeout};
  const auto verdict = leaving.down.find({service.key, backend.address});
  if (verdict != leaving.down.end() && !verdict->second.up) {
    departure.backend.state = BackendState::Down;
    departure.backend.reason = Reason::ProbeFailed;
  }
  departure.deadline = latest(departure, leaving.now);
  departures_.insert_or_assign(Key{service.key, backend.address}, departure);
  dirty_ = true;
}

void Departures::drop_present(const Service& service) {
  auto it = departures_.lower_bound(Key{service.key, Address{}});
  while (it != departures_.end() && it->first.first == service.key) {
    if (!find_backend(service, it->first.second)) {
      ++it;
      continue;
    }
    it = departures_.erase(it);
    dirty_ = true;
  }
}

void Departures::adopt(const ServiceKey& key, const Address& backend, Moment now) {
  const Service* service = in_view(key);
  if (service && find_backend(*service, backend)) return;
  if (departures_.contains(Key{key, backend})) return;
  Departure departure;
  departure.backend.id = backend.to_string();
  departure.backend.host = backend.ip.to_string();
  departure.backend.address = backend;
  // Nobody vouches for it: it keeps its connections, and is no last resort.
  departure.backend.weight = 0;
  departure.service_name = key.to_string();
  departure.since = now.wall;
  if (service) departure.timeout = service->drain_timeout;
  departure.deadline = latest(departure, now);
  departures_.emplace(Key{key, backend}, std::move(departure));
  dirty_ = true;
}

const Service* Departures::in_view(const ServiceKey& key) const {
  const auto found = std::lower_bound(
      before_.begin(), before_.end(), key,
      [](const OwnedService& s, const ServiceKey& k) { return s.service->key < k; });
  return found != before_.end() && found->service->key == key ? found->service.get() : nullptr;
}

bool Departures::finish(const ServiceKey& key, const Address& backend) {
  const bool known = departures_.erase(Key{key, backend}) > 0;
  dirty_ = dirty_ || known;
  return known;
}

void Departures::clamp(Moment now) {
  for (auto& [key, departure] : departures_) {
    const Deadline most = latest(departure, now);
    if (departure.deadline.at <= most.at && departure.since <= now.wall) continue;
    if (departure.deadline.at > most.at) departure.deadline = most;
    departure.since = std::min(departure.since, now.wall);  // for people: never in the future
    dirty_ = true;
  }
}

std::vector<Departures::Key> Departures::lingering(SteadyTime now) const {
  std::vector<Key> out;
  for (const auto& [key, departure] : departures_)
    if (departure.deadline.passed(now)) out.push_back(key);
  return out;
}

std::vector<Departures::Key> Departures::take_terminations(SteadyTime now) {
  std::vector<Key> out;
  for (auto& [key, departure] : departures_) {
    if (!departure.deadline.passed(now) || departure.terminated) continue;
    departure.terminated = true;
    dirty_ = true;
    out.push_back(key);
  }
  return out;
}

std::optional<Departures::SteadyTime> Departures::next_deadline(SteadyTime now) const {
  std::optional<SteadyTime> next;
  for (const auto& [key, departure] : departures_)
    if (!departure.deadline.passed(now) && (!next || departure.deadline.at < *next))
      next = departure.deadline.at;
  return next;
}

const Departure* Departures::find(const ServiceKey& key, const Address& backend) const {
  const auto found = departures_.find(Key{key, backend});
  return found == departures_.end() ? nullptr : &found->second;
}

std::function<Result<>()> Departures::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, departures = departures_] { return write(path, departures); };
}

}  // namespace lb
