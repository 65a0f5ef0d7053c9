#include "daemon/upgrade_check.h"

#include <deque>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/rights.h"
#include "reconcile/frontends.h"
#include "relay/certificate.h"
#include "state/json_codec.h"
#include "state/merge.h"
#include "state/store.h"

namespace lb {
namespace {

constexpr std::size_t kLargestSnapshot = std::size_t{1} << 30;

// Not by SnapshotStore::load(), which puts aside what it cannot read.
Result<Snapshot> read_snapshot(const std::string& path) {
  LB_TRY(const std::string text, read_file(path, kLargestSnapshot));
  auto snapshot = decode_snapshot(text);
  if (!snapshot) return fail(fmt::format("{} {}", path, snapshot.error().message()));
  return snapshot;
}

DesiredServicePtr narrowed(const DesiredServicePtr& service, const DesiredState& all,
                           const HostView& host) {
  if (service->condition == Condition::Refused) return service;
  const std::string why = why_local_only(*service, all, host);
  if (why.empty()) return nullptr;
  auto copy = std::make_shared<DesiredService>(*service);
  copy->condition = Condition::LocalOnly;
  copy->text = "clients of other hosts are not served: " + why;
  return copy;
}

// Updaters compare it with the name that a listener says.
void check_certificate(const SourceConfig& source, const std::string& node, UpgradeCheck& out) {
  const auto* updaters = std::get_if<RelaySourceConfig>(&source.settings);
  if (updaters == nullptr || updaters->tls.cert.empty()) return;
  const auto names = relay::names_in(updaters->tls.cert);
  if (!names)
    out.unknown.push_back(fmt::format("of source {} the certificate cannot be read: {}",
                                      source.name, names.error().message()));
  else if (!relay::name_node(*names, node))
    out.certificates.push_back(fmt::format(
        "source {}: cert {} names {}, and this host is {}: an updater with tls_client_ca refuses "
        "it; give each listener its own, or set [relay] shared_certificate = true at the updaters",
        source.name, updaters->tls.cert, relay::listed_names(*names), node));
}

}  // namespace

UpgradeCheck check_upgrade(const Config& config, const HostView& host, const std::string& node) {
  UpgradeCheck out;
  if (!config.relay.tls.ca.empty() && !config.relay.shared_certificate)
    out.hints.push_back(
        "[relay]: a listener is refused whose certificate does not name its host; ask this on each "
        "listener's host, or set shared_certificate = true");
  const SnapshotStore store(config.daemon.state_dir + "/sources");
  std::deque<Snapshot> snapshots;  // whose addresses stay
  std::vector<SourceInput> inputs;
  for (const SourceConfig& source : config.sources) {
    check_certificate(source, node, out);
    SourceInput& input = inputs.emplace_back();
    input.name = source.name;
    input.ports = ports_for(source, config);
    input.reach = reach_for(source, config);
    input.gave_up = true;  // none waits for what is not known
    auto snapshot = read_snapshot(store.path_of(source.name));
    if (snapshot)
      input.snapshot = &snapshots.emplace_back(*std::move(snapshot));
    else
      out.unknown.push_back(fmt::format("of source {} nothing is known here: {}", source.name,
                                        snapshot.error().message()));
  }
  const View view = resolve_claims(inputs, nullptr, host);
  MergeInput input;
  input.view = &view;
  input.scope_all = config.dataplane.scope == Scope::All;
  const DesiredState state = merge(input).state;
  out.services = state.size();
  for (const auto& [key, service] : state)
    if (auto found = narrowed(service, state, host)) out.narrowed.push_back(std::move(found));
  return out;
}

std::string render(const UpgradeCheck& check) {
  std::string out;
  for (const DesiredServicePtr& service : check.narrowed)
    out += fmt::format("{} ({}) of source {}: {}: {}\n", service->key.to_string(),
                       printable(service->name, 256), service->source,
                       to_string(service->condition), service->text);
  for (const auto* sentences : {&check.unknown, &check.certificates, &check.hints})
    for (const std::string& sentence : *sentences) out += sentence + "\n";
  return out + fmt::format("{} of {} services would be refused, or be for local clients only\n",
                           check.narrowed.size(), check.services);
}

}  // namespace lb
