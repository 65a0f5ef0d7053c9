// Which sources run: at the start by what state_dir knows of the run before, at a reload by what runs.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/app.h"
#include "daemon/rights.h"

namespace lb {
namespace {

SourceIdentities identities_of(const Config& config) {
  SourceIdentities out;
  for (const SourceConfig& source : config.sources) out.push_back(identity_of(source, config));
  return out;
}

SourceIdentity identity_of(const SourceSlot& former, const SourceIdentities& known) {
  const auto found = std::find_if(known.begin(), known.end(), [&](const SourceIdentity& each) {
    return each.name == former.name();
  });
  if (found != known.end()) return *found;
  return {.name = former.name(), .type = former.type(), .locators = {}, .ports = {}};
}

std::shared_ptr<SourceSlot> make_former(const SourceIdentity& known, const Config& config) {
  return std::make_shared<SourceSlot>(
      known.name, known.type, PortRanges::parse(known.ports).value_or(PortRanges()), config.guard,
      reach_of_former(known.type, known.addresses, config));
}

void load_or_note(SourceSlot& slot, const SnapshotStore& store, const std::string& saved_as,
                  SavedProblems& problems) {
  if (auto loaded = slot.load(store, saved_as); !loaded)
    problems.not_loaded(store.path_of(saved_as), loaded.error());
}

// Those of `before` that none of `after` continues.
std::vector<std::size_t> left_over(std::size_t before,
                                   const std::vector<std::optional<std::size_t>>& predecessors) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < before; ++i)
    if (std::find(predecessors.begin(), predecessors.end(), i) == predecessors.end())
      out.push_back(i);
  return out;
}

// What it may claim is judged here, and is no reason to read it afresh.
bool reads_the_same(SourceConfig before, const SourceConfig& now) {
  before.ports = now.ports;
  before.addresses = now.addresses;
  return before == now;
}

template <class T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

EngineSettings engine_settings(const Config& config) {
  return {.drain_timeout = config.drain.timeout,
          .terminate_on_timeout = config.drain.on_timeout == OnTimeout::Terminate,
          .scope_all = config.dataplane.scope == Scope::All};
}

std::shared_ptr<SourceSlot> App::make_slot(const SourceConfig& source, const FillSlot& fill) {
  auto slot = std::make_shared<SourceSlot>(source.name, type_of(source), ports_for(source, config_),
                                           config_.guard, reach_for(source, config_));
  slot->set_backends(backends_for(source));
  fill(*slot);
  return slot;
}

void App::make_source(SourceSlot& slot, const SourceConfig& config) {
  std::optional<Snapshot> saved;
  if (slot.snapshot()) saved = *slot.snapshot();
  const SourceContext context{.io = io_,
                              .clocks = parts_.clocks,
                              .orders = fleet_->orders(),
                              .orders_changed = [this] { fleet_->orders_changed(); },
                              .node = fleet_->node()};
  slot.source = parts_.make_source(context, config, std::move(saved));
}

SourceSlots App::open_sources(FormerSources& former) {
  const SnapshotStore store(config_.daemon.state_dir + "/sources");
  const SourceIndex index(config_.daemon.state_dir);
  recorded_ = problems_.loaded_or(index.path(), index.load(), {});
  const auto predecessors = find_predecessors(recorded_, identities_of(config_));
  SourceSlots slots;
  for (std::size_t i = 0; i < config_.sources.size(); ++i) {
    const auto& predecessor = predecessors[i];
    slots.push_back(make_slot(config_.sources[i], [&](SourceSlot& slot) {
      if (predecessor) load_or_note(slot, store, recorded_[*predecessor].name, problems_);
      if (!slot.snapshot()) load_or_note(slot, store, slot.name(), problems_);
    }));
    // One without a snapshot has not delivered in the run before, either.
    if (!predecessor || !slots.back()->snapshot()) former.until.push_back(slots.back());
  }
  for (const std::size_t i : left_over(recorded_.size(), predecessors)) {
    auto slot = make_former(recorded_[i], config_);
    load_or_note(*slot, store, slot->name(), problems_);
    if (slot->snapshot()) former.slots.push_back(std::move(slot));
  }
  return slots;
}

// What cannot change while we run stays as it was, and is named.
void App::keep_what_cannot_change(Config& config) const {
  for (const auto& [name, differs] :
       {std::pair("[daemon] state_dir", config.daemon.state_dir != config_.daemon.state_dir),
        std::pair("[daemon] runtime_dir", config.daemon.runtime_dir != config_.daemon.runtime_dir),
        std::pair("[dataplane]", config.dataplane != config_.dataplane),
        std::pair("[api]", config.api != config_.api),
        std::pair("[relay]", config.relay != config_.relay)})
    if (differs) spdlog::warn("reload: {} changes only at the next start", name);
  config.daemon.state_dir = config_.daemon.state_dir;
  config.daemon.runtime_dir = config_.daemon.runtime_dir;
  config.dataplane = config_.dataplane;
  config.api = config_.api;
  config.relay = config_.relay;
}

// What a source has in force goes over in memory: a disk that is full or slow has no part in it.
void App::apply_config(Config config) {
  keep_what_cannot_change(config);
  const Config old = std::exchange(config_, std::move(config));
  fleet_->set_order_keys(config_);
  SourceSlots before = engine_->slots();
  const FormerSources& formerly = engine_->former();
  before.insert(before.end(), formerly.slots.begin(), formerly.slots.end());
  SourceIdentities known = identities_of(old);
  for (const auto& slot : formerly.slots) known.push_back(identity_of(*slot, recorded_));

  const auto predecessors = find_predecessors(known, identities_of(config_));
  SourceSlots slots;
  SourceSlots fresh;
  FormerSources former;
  for (std::size_t i = 0; i < config_.sources.size(); ++i) {
    const auto& p = predecessors[i];
    if (p && *p < old.sources.size() && reads_the_same(old.sources[*p], config_.sources[i])) {
      slots.push_back(before[*p]);
      if (old.guard != config_.guard) slots.back()->set_guard(config_.guard);
      slots.back()->set_rights(ports_for(config_.sources[i], config_),
                               reach_for(config_.sources[i], config_));
    } else {
      slots.push_back(make_slot(config_.sources[i], [&](SourceSlot& slot) {
        if (p) slot.continue_from(*before[*p]);
      }));
      make_source(*slots.back(), config_.sources[i]);
      fresh.push_back(slots.back());
    }
    if (!p || contains(formerly.until, before[*p])) former.until.push_back(slots.back());
  }
  for (const std::size_t i : left_over(before.size(), predecessors)) {
    auto slot = make_former(known[i], config_);
    slot->continue_from(*before[i]);
    if (slot->snapshot()) former.slots.push_back(std::move(slot));
  }
  for (const auto& slot : before)
    if (!contains(slots, slot)) slot->stop.emit(asio::cancellation_type::terminal);
  engine_->configure(engine_settings(config_), std::move(slots), std::move(former));
  endpoints_.want(dialled_endpoints(config_));
  fleet_->set_applies(fleet_applies());
  follow_log_level();
  for (const auto& slot : fresh) start_source(slot);
  spdlog::info("reloaded sources={} new={} former={}", engine_->slots().size(), fresh.size(),
               engine_->former().slots.size());
  wake_.notify();
}

// Behind the saves that are on their way: a snapshot is not thrown away before its successor's is there.
void App::record_sources_if_changed() {
  SourceIdentities now = identities_of(config_);
  for (const auto& slot : engine_->former().slots) now.push_back(identity_of(*slot, recorded_));
  static constexpr std::chrono::seconds kRetry{1};
  if (now == recorded_ && !record_again_) return;
  if (record_again_ && parts_.clocks.steady() < *record_again_) return;
  record_again_.reset();
  recorded_ = now;
  std::map<std::string, std::string> renamed;
  for (const auto& slot : engine_->slots())
    if (!slot->formerly().empty()) renamed.emplace(slot->formerly(), slot->name());
  const std::string& state_dir = config_.daemon.state_dir;
  disk_.run(
      [index = SourceIndex(state_dir), store = SnapshotStore(state_dir + "/sources"),
       now = std::move(now), renamed = std::move(renamed)]() -> Result<> {
        for (const auto& [from, to] : renamed) LB_CHECK(store.rename(from, to));
        LB_CHECK(index.save(now));
        std::set<std::string> names;
        for (const SourceIdentity& source : now) names.insert(source.name);
        return store.keep_only(names);
      },
      [this](const Result<>& saved) {
        problems_.set("sources",
                      saved ? "" : "cannot record the sources: " + saved.error().message());
        if (!saved) record_again_ = parts_.clocks.steady() + kRetry;
      });
}

}  // namespace lb
