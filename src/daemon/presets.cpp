#include "daemon/presets.h"

#include <algorithm>

#include <fmt/format.h>

#include "sources/merlion_schema.h"

namespace lb {

Result<Config> merlion_config(const MerlionPreset& preset) {
  const auto named = [](const char* name, const Error& error) {
    return fail(fmt::format("{}: {}", name, error.message()));
  };
  EtcdSourceConfig etcd;
  for (const std::string& text : preset.prefixes) {
    if (auto good = check_merlion_prefix(text); !good) return named("PREFIX", good.error());
    const std::string prefix = strip_trailing_slashes(text);
    if (std::find(etcd.prefixes.begin(), etcd.prefixes.end(), prefix) != etcd.prefixes.end())
      return fail(fmt::format("PREFIX: '{}' is named twice", prefix));
    etcd.prefixes.push_back(prefix);
  }
  for (const std::string& endpoint : preset.endpoints)
    if (auto good = check_etcd_endpoint(endpoint); !good) return named("--etcd", good.error());
  auto mode = etcd::parse_mode(preset.api);
  if (!mode) return named("--api", mode.error());
  if (preset.tls.cert.empty() != preset.tls.key.empty())
    return fail("--cert and --key: each needs the other");
  if (preset.username.empty() != preset.password_file.empty())
    return fail("--username and --password-file: each needs the other");
  etcd.access = {.endpoints = preset.endpoints,
                 .mode = *mode,
                 .tls = preset.tls,
                 .username = preset.username,
                 .password_file = preset.password_file};
  Config config;
  config.sources.push_back({.name = "merlion", .ports = {}, .settings = std::move(etcd)});
  return config;
}

}  // namespace lb
