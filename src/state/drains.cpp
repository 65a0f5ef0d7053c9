#include "state/drains.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kDrainsVersion = 1;
// Of a saved order that tells no duration: older files have the wall time alone.
constexpr std::chrono::milliseconds kLongestTermination = std::chrono::hours(24);

// One target may be drained twice, by us and by the fleet.
auto identity(const Drain& drain) { return std::tie(drain.target, drain.service, drain.fleet); }

bool in_order(const Drain& a, const Drain& b) { return identity(a) < identity(b); }

bool is_own(const Drain& drain) { return drain.fleet.empty(); }

bool names_service(std::string_view wanted, const ServiceKey& key, std::string_view name) {
  if (wanted == name) return true;
  if (wanted.find("://") != std::string_view::npos) {
    const auto parsed = ServiceKey::parse(wanted);
    return parsed && *parsed == key;
  }
  const auto parsed = Address::parse(wanted);
  return parsed && parsed->ip == key.address && parsed->port == key.port;
}

bool names_host(const std::string& wanted, const Backend& backend) {
  if (wanted == backend.host) return true;
  const auto ip = IpAddress::parse(wanted);
  return ip && *ip == backend.address.ip;
}

// By the names that it had when the order was given. A source may give none (files), or may not have said
// it yet (what only the kernel knew at start): then the address is all that there is.
bool means(const Drain& drain, const Backend& backend) {
  const auto has = [&](const std::string& id) {
    return std::binary_search(drain.ids.begin(), drain.ids.end(), id);
  };
  if (drain.ids.empty() || has(backend.id)) return true;
  const std::string unnamed = backend.address.to_string();
  return backend.id == unnamed || has(unnamed);
}

bool covers(const Drain& drain, const Backend& backend, const ServiceKey& key,
            std::string_view name) {
  if (const auto* address = std::get_if<Address>(&drain.target)) {
    if (*address != backend.address || !means(drain, backend)) return false;
  } else if (!names_host(std::get<std::string>(drain.target), backend)) {
    return false;
  }
  return !drain.service || names_service(*drain.service, key, name);
}

std::vector<std::string> covered_ids(const Drain& drain, const DesiredState& state) {
  std::vector<std::string> ids;
  for (const auto& [key, service] : state)
    for (const DesiredBackend& b : service->backends)
      if (covers(drain, b.backend, key, service->name)) ids.push_back(b.backend.id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

json to_json(const Drain& drain) {
  json out{{"target", to_string(drain.target)},
           {"since", format_iso8601(drain.since)},
           {"ids", drain.ids}};
  if (drain.service) out["service"] = *drain.service;
  if (drain.recovered) out["recovered"] = true;
  if (drain.terminate_at) write_deadline(out, "terminate_at", *drain.terminate_at);
  return out;
}

Result<Drain> drain_from(const json& value, Moment now) {
  Drain out;
  LB_TRY(out.target, Drain::parse_target(value.at("target").get<std::string>()));
  LB_TRY(out.since, parse_iso8601(value.at("since").get<std::string>()));
  value.at("ids").get_to(out.ids);
  std::sort(out.ids.begin(), out.ids.end());
  out.recovered = value.value("recovered", false);
  if (value.contains("service")) out.service = value.at("service").get<std::string>();
  if (value.contains("terminate_at")) {
    LB_TRY(out.terminate_at, read_deadline(value, "terminate_at", kLongestTermination, now));
  }
  return out;
}

}  // namespace

Result<Drain::Target> Drain::parse_target(std::string_view text) {
  if (text.empty()) return fail(EINVAL, "a drain needs ADDR:PORT or a host");
  if (auto address = Address::parse(text)) return Target(*address);
  if (IpAddress::parse(text)) return Target(std::string(text));
  if (const auto colon = text.find(':'); colon == std::string_view::npos)
    return Target(std::string(text));
  // With a colon it was meant as ADDR:PORT: say what is wrong with it.
  return fail(EINVAL, Address::parse(text).error().context);
}

std::string to_string(const Drain::Target& target) {
  if (const auto* address = std::get_if<Address>(&target)) return address->to_string();
  return std::get<std::string>(target);
}

Result<Drains> Drains::open(std::string path, Moment now) {
  Drains out;
  out.path_ = std::move(path);
  LB_CHECK(load_saved(out.path_, [&](std::string_view text) {
    return decode_json(text, kDrainsVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("drains")) {
        LB_TRY(Drain drain, drain_from(item, now));
        out.drains_.push_back(std::move(drain));
      }
      out.loaded_ = true;
      return {};
    });
  }));
  std::sort(out.drains_.begin(), out.drains_.end(), in_order);
  return out;
}

Drains Drains::without(std::string path) {
  Drains out;
  out.path_ = std::move(path);
  out.broken_ = true;
  return out;
}

Result<> Drains::replace(std::vector<Drain> next) {
  drains_ = std::move(next);
  dirty_ = true;
  return {};
}

std::function<Result<>()> Drains::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, drains = drains_] {
    json list = json::array();
    for (const Drain& drain : drains)
      if (is_own(drain)) list.push_back(to_json(drain));
    return write_file_atomically(
        path, encode_json({{"version", kDrainsVersion}, {"drains", std::move(list)}}));
  };
}

Result<> Drains::add(Drain drain) {
  std::vector<Drain> next = drains_;
  const auto at = std::lower_bound(next.begin(), next.end(), drain, in_order);
  if (at == next.end() || identity(*at) != identity(drain)) {
    next.insert(at, std::move(drain));
  } else {
    if (drain.terminate_at) at->terminate_at = drain.terminate_at;
    // Somebody who drains an address anew means whoever is there now.
    at->ids = std::move(drain.ids);
    at->recovered = false;
  }
  return replace(std::move(next));
}

Result<> Drains::remove(const Drain::Target& target, const std::optional<std::string>& service) {
  std::vector<Drain> next = drains_;
  const auto gone = std::remove_if(next.begin(), next.end(), [&](const Drain& drain) {
    return drain.target == target && drain.service == service && is_own(drain);
  });
  if (gone == next.end())
    return fail(ENOENT, fmt::format("there is no drain of {}{}", to_string(target),
                                    service ? " in service " + *service : std::string()));
  next.erase(gone, next.end());
  return replace(std::move(next));
}

void Drains::recover(std::vector<Drain> orders) {
  std::vector<Drain> next = drains_;
  for (Drain& order : orders) {
    order.recovered = true;
    const auto at = std::lower_bound(next.begin(), next.end(), order, in_order);
    if (at == next.end() || identity(*at) != identity(order)) next.insert(at, std::move(order));
  }
  if (!replace(next)) drains_ = std::move(next);
}

void Drains::set_fleet(std::vector<Drain> drains) {
  std::erase_if(drains_, [](const Drain& drain) { return !is_own(drain); });
  std::move(drains.begin(), drains.end(), std::back_inserter(drains_));
  std::sort(drains_.begin(), drains_.end(), in_order);
}

const Drain* Drains::find(const Backend& backend, const Service& service) const {
  return find(backend, service.key, service.name);
}

const Drain* Drains::find(const Backend& backend, const ServiceKey& key,
                          std::string_view service_name) const {
  for (const Drain& drain : drains_)
    if (covers(drain, backend, key, service_name)) return &drain;
  return nullptr;
}

// The fleet's order may be older than what is loaded here: it ends with a backend that was seen.
bool Drains::may_end(const Drain& drain, bool covers) {
  if (is_own(drain)) return true;
  if (covers) seen_.insert(drain.fleet);
  return seen_.contains(drain.fleet);
}

Result<std::vector<Drain>> Drains::settle(const DesiredState& state, bool complete, TimePoint now) {
  std::vector<Drain> next;
  std::vector<Drain> ended;
  std::map<Identity, TimePoint> resting;
  for (const Drain& drain : drains_) {
    const bool settled =
        std::holds_alternative<std::string>(drain.target) || (!drain.ids.empty() && !complete);
    std::vector<std::string> ids = settled ? drain.ids : covered_ids(drain, state);
    const bool may = may_end(drain, !ids.empty());
    if (!settled && ids.empty() && complete && may) {
      const auto before = resting_.find(identity(drain));
      const TimePoint since = before != resting_.end() ? before->second : now;
      if (now - since >= kRest) {
        ended.push_back(drain);
        continue;
      }
      resting.emplace(identity(drain), since);
    }
    next.push_back(drain);
    if (drain.ids.empty()) next.back().ids = std::move(ids);
  }
  if (next != drains_) LB_CHECK(replace(std::move(next)));
  resting_ = std::move(resting);
  return ended;
}

std::optional<Drains::TimePoint> Drains::next_end() const {
  std::optional<TimePoint> next;
  for (const auto& [drain, since] : resting_)
    if (!next || since + kRest < *next) next = since + kRest;
  return next;
}

bool covers_any(const Drain& drain, const DesiredState& state) {
  return !covered_ids(drain, state).empty();
}

}  // namespace lb
