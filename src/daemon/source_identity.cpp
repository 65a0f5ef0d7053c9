#include "daemon/source_identity.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "daemon/rights.h"
#include "daemon/source_factory.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

std::vector<std::string> locators_of(const FileSourceConfig& file) { return {file.path}; }

std::vector<std::string> locators_of(const EtcdSourceConfig& etcd) {
  std::vector<std::string> out = etcd.access.endpoints;
  out.insert(out.end(), etcd.prefixes.begin(), etcd.prefixes.end());
  return out;
}

std::vector<std::string> locators_of(const MarathonSourceConfig& marathon) {
  return marathon.access.endpoints;
}

std::vector<std::string> locators_of(const RelaySourceConfig& relay) {
  std::vector<std::string> out;
  for (const HostPort& updater : relay.updaters)
    out.push_back(fmt::format("{}:{}", updater.host, updater.port));
  return out;
}

bool share_a_locator(const SourceIdentity& a, const SourceIdentity& b) {
  return std::any_of(a.locators.begin(), a.locators.end(), [&](const std::string& locator) {
    return std::binary_search(b.locators.begin(), b.locators.end(), locator);
  });
}

SourceIdentity identity_from(const json& value) {
  SourceIdentity out;
  value.at("name").get_to(out.name);
  value.at("type").get_to(out.type);
  value.at("derived").get_to(out.derived);
  value.at("locators").get_to(out.locators);
  value.at("ports").get_to(out.ports);
  out.addresses = value.value("addresses", std::string());
  std::sort(out.locators.begin(), out.locators.end());
  return out;
}

}  // namespace

SourceIdentity identity_of(const SourceConfig& source, const Config& config) {
  SourceIdentity out{
      .name = source.name,
      .type = type_of(source),
      .derived = source.name == default_source_name(source),
      .locators = std::visit([](const auto& s) { return locators_of(s); }, source.settings),
      .ports = ports_for(source, config).to_string(),
      .addresses = reach_for(source, config)->claims.to_string()};
  std::sort(out.locators.begin(), out.locators.end());
  return out;
}

std::vector<std::optional<std::size_t>> find_predecessors(const SourceIdentities& before,
                                                          const SourceIdentities& after) {
  std::vector<std::optional<std::size_t>> out(after.size());
  std::vector<bool> taken(before.size());
  const auto pair_up = [&](const auto& continues) {
    for (std::size_t i = 0; i < after.size(); ++i)
      for (std::size_t j = 0; j < before.size() && !out[i]; ++j) {
        if (taken[j] || !continues(before[j], after[i])) continue;
        taken[j] = true;
        out[i] = j;
      }
  };
  using Identity = SourceIdentity;
  pair_up([](const Identity& b, const Identity& a) { return b.name == a.name; });
  pair_up([](const Identity& b, const Identity& a) {
    return b.type == a.type && share_a_locator(b, a);
  });
  pair_up([](const Identity& b, const Identity& a) {
    return b.type == a.type && b.derived && a.derived;
  });
  return out;
}

Result<SourceIdentities> SourceIndex::load() const {
  SourceIdentities out;
  LB_CHECK(load_saved(path_, [&](std::string_view text) {
    return decode_json(text, kVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("sources")) out.push_back(identity_from(item));
      return {};
    });
  }));
  return out;
}

Result<> SourceIndex::save(const SourceIdentities& sources) const {
  json list = json::array();
  for (const SourceIdentity& source : sources)
    list.push_back({{"name", source.name},
                    {"type", source.type},
                    {"derived", source.derived},
                    {"locators", source.locators},
                    {"ports", source.ports},
                    {"addresses", source.addresses}});
  return write_file_atomically(path_,
                               encode_json({{"version", kVersion}, {"sources", std::move(list)}}));
}

}  // namespace lb
