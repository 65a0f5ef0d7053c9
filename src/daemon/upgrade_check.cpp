#include "daemon/upgrade_check.h"

#include <deque>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/rights.h"
#include "reconcile/frontends.h"
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

}  // namespace

UpgradeCheck check_upgrade(const Config& config, const HostView& host) {
  UpgradeCheck out;
  const SnapshotStore store(config.daemon.state_dir + "/sources");
  std::deque<Snapshot> snapshots;  // whose addresses stay
  std::vector<SourceInput> inputs;
  for (const SourceConfig& source : config.sources) {
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
  for (const std::string& unknown : check.unknown) out += unknown + "\n";
  return out + fmt::format("{} of {} services would be refused, or be for local clients only\n",
                           check.narrowed.size(), check.services);
}

}  // namespace lb
