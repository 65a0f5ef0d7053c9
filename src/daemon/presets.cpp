#include "daemon/presets.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/secret_file.h"
#include "sources/merlion_schema.h"

namespace lb {
namespace {

tl::unexpected<Error> named(const char* name, const Error& error) {
  return fail(fmt::format("{}: {}", name, error.message()));
}

HttpTls tls_of(HttpTls tls) {
  tls.key = secret_path(tls.key);
  return tls;
}

}  // namespace

Result<Config> merlion_config(const MerlionPreset& preset) {
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
                 .tls = tls_of(preset.tls),
                 .username = preset.username,
                 .password_file = secret_path(preset.password_file)};
  Config config;
  if (preset.bind.empty()) {
    config.publish.addresses = AddressRanges::this_host();
  } else {
    auto bind = IpAddress::parse(preset.bind);
    if (!bind) return named("--bind", bind.error());
    config.publish.address = *bind;
  }
  config.sources.push_back({.name = "merlion", .ports = {}, .settings = std::move(etcd)});
  return config;
}

void make_updater(Config& config, const std::string& listen) {
  const DaemonConfig defaults;
  if (config.daemon.runtime_dir == defaults.runtime_dir)
    config.daemon.runtime_dir = "/run/lbd-updater";
  if (config.daemon.state_dir == defaults.state_dir)
    config.daemon.state_dir = "/var/lib/lbd-updater";
  config.dataplane.mode = DataplaneMode::None;
  if (config.relay.listen.empty()) config.relay.listen = listen;
}

Result<Config> updater_config(const UpdaterPreset& preset) {
  MarathonSourceConfig marathon;
  for (const std::string& endpoint : preset.marathons)
    if (auto good = check_marathon_endpoint(endpoint); !good)
      return named("--marathon", good.error());
  if (auto listen = Address::parse(preset.listen); !listen)
    return named("--listen", listen.error());
  // 0 would ask without a pause, as Marathoner does with 0.5.
  if (!(preset.interval >= 0.2 && preset.interval <= 86'400))
    return fail("--interval: must be between 0.2 and 86400 seconds");
  if (preset.tls.cert.empty() != preset.tls.key.empty())
    return fail("--cert and --key: each needs the other");
  if (preset.username.empty() != preset.password_file.empty())
    return fail("--username and --password-file: each needs the other");
  if (!preset.username.empty() && !preset.token_file.empty())
    return fail("--username and --token-file: one of them is enough");
  if (preset.listener_tls.cert.empty() != preset.listener_tls.key.empty())
    return fail("--tls-cert and --tls-key: each needs the other");
  if (!preset.listener_tls.ca.empty() && preset.listener_tls.cert.empty())
    return fail("--tls-client-ca needs --tls-cert and --tls-key");
  if (!preset.listener_tls.crl.empty() && preset.listener_tls.ca.empty())
    return fail("--tls-crl needs --tls-client-ca");
  marathon.access = {.endpoints = preset.marathons,
                     .tls = tls_of(preset.tls),
                     .username = preset.username,
                     .password_file = secret_path(preset.password_file),
                     .token_file = secret_path(preset.token_file),
                     .dcos_login = {},
                     .dcos_uid = {},
                     .dcos_key_file = {}};
  marathon.interval = std::chrono::milliseconds(std::llround(preset.interval * 1000));
  marathon.rules.label = preset.label;
  Config config;
  SourceConfig source{.name = "marathon", .ports = {}, .settings = std::move(marathon)};
  // Each listener decides for its host which ports may be claimed.
  config.sources.push_back(std::move(source));
  config.relay.tls = preset.listener_tls;
  config.relay.tls.key = secret_path(config.relay.tls.key);
  config.relay.shared_certificate = preset.shared_certificate;
  make_updater(config, preset.listen);
  share_settings(config);
  return config;
}

Result<Config> listener_config(const ListenerPreset& preset) {
  RelaySourceConfig relay;
  for (const std::string& text : preset.updaters) {
    auto updater = HostPort::parse(text);
    if (!updater) return named("--updater", updater.error());
    if (std::find(relay.updaters.begin(), relay.updaters.end(), *updater) != relay.updaters.end())
      return fail(fmt::format("--updater: '{}' is named twice", text));
    relay.updaters.push_back(*std::move(updater));
  }
  if (preset.tls.cert.empty() != preset.tls.key.empty())
    return fail("--cert and --key: each needs the other");
  if (!preset.tls.crl.empty() && preset.tls.ca.empty()) return fail("--crl needs --ca");
  relay.tls = preset.tls;
  relay.tls.key = secret_path(relay.tls.key);
  Config config;
  auto publish = IpAddress::parse(preset.publish);
  if (!publish) return named("--bind", publish.error());
  config.publish.address = *publish;
  if (preset.shadow) config.dataplane.on_local_listener = OnLocalListener::Shadow;
  SourceConfig source{.name = "updaters", .ports = {}, .settings = std::move(relay)};
  auto ports = PortRanges::parse(preset.ports);
  if (!ports) return named("--ports", ports.error());
  source.ports = *std::move(ports);
  config.sources.push_back(std::move(source));
  share_settings(config);
  return config;
}

}  // namespace lb
