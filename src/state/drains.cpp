#include "state/drains.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
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

bool is_own(const Drain& drain) { return drain.fleet.empty(); }

bool is_of_address(const Drain& drain) { return std::holds_alternative<Address>(drain.target); }

Result<> within_limits(const Drain& drain) {
  const auto target = to_string(drain.target);
  if (target.size() > limits::kTarget)
    return fail(E2BIG, fmt::format("a drain of '{}', which is longer than {} characters",
                                   printable(target, 40), limits::kTarget));
  if (drain.service && drain.service->size() > limits::kText)
    return fail(E2BIG, fmt::format("a drain of {} in a service whose name is longer than {} bytes",
                                   target, limits::kText));
  return {};
}

// A drain without an id that is too long still holds, one that is left out does not.
std::vector<std::string> kept_ids(std::vector<std::string> ids) {
  std::erase_if(ids, [](const std::string& id) { return id.size() > limits::kText; });
  std::sort(ids.begin(), ids.end());
  if (ids.size() > limits::kDrainIds) ids.resize(limits::kDrainIds);
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
  out.ids = kept_ids(value.at("ids").get<std::vector<std::string>>());
  out.recovered = value.value("recovered", false);
  if (value.contains("service")) out.service = value.at("service").get<std::string>();
  LB_CHECK(within_limits(out));
  if (value.contains("terminate_at")) {
    LB_TRY(out.terminate_at, read_deadline(value, "terminate_at", kLongestTermination, now));
  }
  return out;
}

}  // namespace

bool Drains::in_order(const Drain& a, const Drain& b) { return identity(a) < identity(b); }

Result<Drains> Drains::open(std::string path, Moment now) {
  Drains out;
  out.path_ = std::move(path);
  std::vector<Drain> drains;
  std::size_t dropped = 0;
  std::string why;  // of the first
  LB_CHECK(load_saved(out.path_, [&](std::string_view text) {
    return decode_json(text, kDrainsVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("drains")) {
        auto drain = drain_from(item, now);
        const bool room = drains.size() < limits::kDrains;
        if (drain && room) {
          drains.push_back(*std::move(drain));
        } else if (dropped++ == 0) {
          why = room ? drain.error().context : fmt::format("at most {} are kept", limits::kDrains);
        }
      }
      out.loaded_ = true;
      return {};
    });
  }));
  std::sort(drains.begin(), drains.end(), in_order);
  out.use(std::move(drains));
  if (dropped > 0)
    out.dropped_ = fmt::format("{}: {} drain{} left out: {}", out.path_, dropped,
                               dropped == 1 ? " was" : "s were", why);
  return out;
}

Drains Drains::without(std::string path) {
  Drains out;
  out.path_ = std::move(path);
  out.broken_ = true;
  return out;
}

void Drains::use(std::vector<Drain> next) {
  drains_ = std::make_shared<const std::vector<Drain>>(std::move(next));
  index_ = DrainIndex(*drains_);
}

void Drains::replace(std::vector<Drain> next) {
  use(std::move(next));
  dirty_ = true;
}

std::function<Result<>()> Drains::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, drains = drains_] {
    json list = json::array();
    for (const Drain& drain : *drains)
      if (is_own(drain)) list.push_back(to_json(drain));
    return write_file_atomically(
        path, encode_json({{"version", kDrainsVersion}, {"drains", std::move(list)}}));
  };
}

Result<> Drains::add(Drain drain) {
  LB_CHECK(within_limits(drain));
  std::vector<Drain> next = *drains_;
  const auto at = std::lower_bound(next.begin(), next.end(), drain, in_order);
  if (at == next.end() || identity(*at) != identity(drain)) {
    if (std::count_if(next.begin(), next.end(), is_own) >=
        static_cast<std::ptrdiff_t>(limits::kDrains))
      return fail(ENOSPC, fmt::format("there are {} drains already", limits::kDrains));
    next.insert(at, std::move(drain));
  } else {
    if (drain.terminate_at) at->terminate_at = drain.terminate_at;
    // Somebody who drains an address anew means whoever is there now.
    at->ids = std::move(drain.ids);
    at->recovered = false;
  }
  replace(std::move(next));
  return {};
}

Result<> Drains::remove(const Drain::Target& target, const std::optional<std::string>& service) {
  std::vector<Drain> next = *drains_;
  const auto gone = std::remove_if(next.begin(), next.end(), [&](const Drain& drain) {
    return drain.target == target && drain.service == service && is_own(drain);
  });
  if (gone == next.end())
    return fail(ENOENT, fmt::format("there is no drain of {}{}", to_string(target),
                                    service ? " in service " + *service : std::string()));
  next.erase(gone, next.end());
  replace(std::move(next));
  return {};
}

void Drains::recover(std::vector<Drain> orders) {
  std::vector<Drain> next = *drains_;
  for (Drain& order : orders) {
    order.recovered = true;
    const auto at = std::lower_bound(next.begin(), next.end(), order, in_order);
    if (at == next.end() || identity(*at) != identity(order)) next.insert(at, std::move(order));
  }
  replace(std::move(next));
}

void Drains::set_fleet(std::vector<Drain> drains) {
  std::copy_if(drains_->begin(), drains_->end(), std::back_inserter(drains), is_own);
  std::sort(drains.begin(), drains.end(), in_order);
  use(std::move(drains));
}

const Drain* Drains::find(const Backend& backend, const Service& service) const {
  return find(backend, service.key, service.name);
}

const Drain* Drains::find(const Backend& backend, const ServiceKey& key,
                          std::string_view service_name) const {
  const auto found = covering(backend, key, service_name);
  return found.empty() ? nullptr : found.front();
}

std::vector<const Drain*> Drains::covering(const Backend& backend, const ServiceKey& key,
                                           std::string_view service_name) const {
  std::vector<const Drain*> out;
  if (index_.empty()) return out;
  for (const std::size_t i : index_.covering(*drains_, backend, key, service_name))
    out.push_back(&(*drains_)[i]);
  return out;
}

// The fleet's order may be older than what is loaded here: it ends with a backend that was seen.
bool Drains::may_end(const Drain& drain, bool covers) {
  if (is_own(drain)) return true;
  if (covers) seen_.insert(drain.fleet);
  return seen_.contains(drain.fleet);
}

// Beside drains_, sorted: those of an address alone.
std::vector<std::vector<std::string>> Drains::covered_ids(const DesiredState& state) const {
  std::vector<std::vector<std::string>> out(drains_->size());
  if (std::none_of(drains_->begin(), drains_->end(), is_of_address)) return out;
  for (const auto& [key, service] : state)
    for (const DesiredBackend& b : service->backends)
      for (const std::size_t i : index_.covering(*drains_, b.backend, key, service->name))
        if (out[i].size() < limits::kDrainIds) out[i].push_back(b.backend.id);
  for (std::vector<std::string>& ids : out) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  }
  return out;
}

bool Drains::has_rested(const Drain& drain, TimePoint now, Resting& resting) const {
  const auto before = resting_.find(identity(drain));
  const TimePoint since = before != resting_.end() ? before->second : now;
  if (now - since >= kRest) return true;
  resting.emplace(identity(drain), since);
  return false;
}

std::vector<Drain> Drains::settle(const DesiredState& state, bool complete, TimePoint now) {
  std::vector<Drain> ended;
  std::map<std::size_t, std::vector<std::string>> learnt;
  Resting resting;
  auto covered = covered_ids(state);
  for (std::size_t i = 0; i < drains_->size(); ++i) {
    const Drain& drain = (*drains_)[i];
    if (!is_of_address(drain) || (!drain.ids.empty() && !complete)) continue;
    const bool may = may_end(drain, !covered[i].empty());
    if (covered[i].empty() && complete && may && has_rested(drain, now, resting))
      ended.push_back(drain);
    else if (drain.ids.empty() && !covered[i].empty())
      learnt.emplace(i, kept_ids(std::move(covered[i])));
  }
  if (!ended.empty() || !learnt.empty()) {
    std::vector<Drain> next = *drains_;
    for (auto& [i, ids] : learnt) next[i].ids = std::move(ids);
    std::erase_if(next, [&](const Drain& drain) {
      return std::binary_search(ended.begin(), ended.end(), drain, in_order);
    });
    replace(std::move(next));
  }
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
  for (const auto& [key, service] : state)
    for (const DesiredBackend& b : service->backends)
      if (covers(drain, b.backend, key, service->name)) return true;
  return false;
}

}  // namespace lb
