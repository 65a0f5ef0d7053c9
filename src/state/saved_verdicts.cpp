#include "state/saved_verdicts.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kVerdictsVersion = 1;

Result<HealthVerdicts::value_type> verdict_from(const json& value) {
  HealthVerdict verdict;
  verdict.up = false;
  LB_TRY(const ServiceKey service, ServiceKey::parse(value.at("service").get<std::string>()));
  LB_TRY(const Address backend, Address::parse(value.at("backend").get<std::string>()));
  LB_TRY(verdict.since, parse_iso8601(value.at("since").get<std::string>()));
  value.at("error").get_to(verdict.error);
  return HealthVerdicts::value_type{{service, backend}, std::move(verdict)};
}

Result<> write(const std::string& path, const HealthVerdicts& down) {
  json list = json::array();
  for (const auto& [key, verdict] : down)
    list.push_back({{"service", key.first.to_string()},
                    {"backend", key.second.to_string()},
                    {"since", format_iso8601(verdict.since)},
                    {"error", verdict.error}});
  return write_file_atomically(
      path, encode_json({{"version", kVerdictsVersion}, {"down", std::move(list)}}));
}

// The error of the last probe may change with each: that is no news for anybody.
bool same(const HealthVerdicts::value_type& a, const HealthVerdicts::value_type& b) {
  return a.first == b.first && a.second.since == b.second.since;
}

}  // namespace

Result<SavedVerdicts> SavedVerdicts::open(std::string path) {
  SavedVerdicts out;
  out.path_ = std::move(path);
  LB_CHECK(load_saved(out.path_, [&](std::string_view text) {
    return decode_json(text, kVerdictsVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("down")) {
        LB_TRY(auto entry, verdict_from(item));
        out.down_.insert(std::move(entry));
      }
      return {};
    });
  }));
  return out;
}

SavedVerdicts SavedVerdicts::without(std::string path) {
  SavedVerdicts out;
  out.path_ = std::move(path);
  return out;
}

bool SavedVerdicts::set(const HealthVerdicts& verdicts) {
  HealthVerdicts down;
  for (const auto& [key, verdict] : verdicts)
    if (!verdict.up) down.emplace_hint(down.end(), key, verdict);
  const bool differs = !std::equal(down.begin(), down.end(), down_.begin(), down_.end(), same);
  down_ = std::move(down);
  dirty_ = dirty_ || differs;
  return differs;
}

std::function<Result<>()> SavedVerdicts::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, down = down_] { return write(path, down); };
}

}  // namespace lb
