#include "sources/etcd_source.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include <fmt/format.h>
#include <boost/asio/cancellation_signal.hpp>

#include "base/event.h"
#include "base/host_name.h"
#include "base/spawn.h"
#include "sources/etcd_follower.h"
#include "sources/etcd_position.h"
#include "sources/merlion_publisher.h"
#include "sources/name_cache.h"

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// Bounds how long a judgement that was missed can matter.
constexpr auto kLongestLook = 30s;
// The first snapshot waits this long for DNS; then it comes without the names that are missing.
constexpr auto kFirstBackendNames = 3s;
constexpr auto kEtcdCannotStart = 5s;
// Of one prefix: a hundred thousand keys of junk must not become as many lines of log.
constexpr std::size_t kShownWarnings = 100;

ServicePtr saved_service(const std::optional<Snapshot>& saved, const std::string& prefix) {
  if (saved)
    for (const ServicePtr& service : saved->services)
      if (service->origin == prefix) return service;
  return nullptr;
}

}  // namespace

// Shared with the followers' coroutines, which end some turns of the loop after the source.
struct EtcdSource::Impl : std::enable_shared_from_this<EtcdSource::Impl> {
  struct Part {
    EtcdFollower follower;
    MerlionPublisher publisher;
    MerlionView::Built built;
    std::map<std::string, BackendReport> reported;  // by id; empty: nothing is known yet
    std::string state_error;  // why its states are not published, although it asks for it
    asio::cancellation_signal cancel_follower, cancel_confirmations, cancel_publisher;
    Part(EtcdFollower::Shared shared, MerlionView view, std::optional<EtcdPosition> remembered,
         const std::function<MerlionPublisher::Wanted(const Part&)>& wanted)
        : follower(shared, std::move(view), remembered),
          publisher(shared.io, shared.cluster, host_name(), shared.clocks,
                    [this, wanted] { return wanted(*this); }) {}

    [[nodiscard]] const MerlionView& view() const { return follower.view(); }
    [[nodiscard]] std::string state_prefix() const {
      return view().config() && state_error.empty() ? view().config()->state_prefix : "";
    }
  };

  Impl(asio::io_context& context, EtcdSourceConfig c, std::optional<Snapshot> s, Clocks k)
      : io(context),
        config(std::move(c)),
        saved(std::move(s)),
        clocks(std::move(k)),
        changed(io.get_executor()),
        names(io, [this] { names_changed(); }),
        cluster(io, config.access) {}

  Result<> start();
  void spawn_part(Part& part);
  void stop();
  void names_changed();
  steady_clock::time_point look();
  static std::string full_of(const Part& part);
  bool ready();
  std::optional<Error> take_error();
  Snapshot assemble();
  static void add_warnings(const Part& part, Snapshot& out);
  void check_state_prefixes(std::vector<std::string>& warnings);
  MerlionPublisher::Wanted wanted_states(const Part& part) const;
  bool matters(const Snapshot& next) const;
  std::optional<LogLevel> log_level() const;

  asio::io_context& io;
  EtcdSourceConfig config;
  std::optional<Snapshot> saved;
  Clocks clocks;
  Event changed;
  NameCache names;
  etcd::Cluster cluster;
  std::vector<std::unique_ptr<Part>> parts;  // in the order of the configuration
  bool started = false;
  bool cannot_start = false;
  bool error_told = false;  // one error per outage
  bool news_after_error = false;
  std::optional<steady_clock::time_point> synced_at;
  std::optional<Snapshot> delivered;
  std::optional<LogLevel> delivered_level;
};

Result<> EtcdSource::Impl::start() {
  if (config.access.endpoints.empty()) return fail(EINVAL, "etcd source without endpoints");
  if (!config.access.password_file.empty()) LB_CHECK(etcd::read_password(config.access));
  const auto remembered = parse_positions(saved ? saved->revision : "");
  for (const std::string& text : config.prefixes) {
    const std::string prefix = strip_trailing_slashes(text);
    MerlionView view(prefix, saved_service(saved, prefix), saved ? saved->as_of : SysTime{});
    EtcdFollower::Shared shared{io, cluster, clocks, [this] { changed.notify(); }};
    parts.push_back(
        std::make_unique<Part>(std::move(shared), std::move(view), position_of(remembered, prefix),
                               [this](const Part& part) { return wanted_states(part); }));
  }
  if (saved)
    for (const ServicePtr& service : saved->services)
      for (const Backend& backend : service->backends) names.seed(backend.host, backend.address.ip);
  for (const auto& part : parts) spawn_part(*part);
  return {};
}

void EtcdSource::Impl::spawn_part(Part& part) {
  const auto self = shared_from_this();
  spawn(io, "etcd", part.cancel_follower, [self, &part] { return part.follower.run(); });
  spawn(io, "etcd confirmations", part.cancel_confirmations,
        [self, &part] { return part.follower.run_confirmations(); });
  spawn(io, "etcd states", part.cancel_publisher, [self, &part] { return part.publisher.run(); });
}

void EtcdSource::Impl::stop() {
  for (const auto& part : parts) {
    part->cancel_follower.emit(asio::cancellation_type::terminal);
    part->cancel_confirmations.emit(asio::cancellation_type::terminal);
    part->cancel_publisher.emit(asio::cancellation_type::terminal);
  }
}

void EtcdSource::Impl::names_changed() {
  for (const auto& part : parts) part->follower.view().touch();
  changed.notify();
}

// Judges what is due; returns when the next judgement is, on the loop's own clock.
steady_clock::time_point EtcdSource::Impl::look() {
  const Moment now = clocks.now();
  auto next = now.steady + kLongestLook;
  std::set<std::string> wanted;
  bool any_dirty = false;
  for (const auto& part : parts) {
    MerlionView& view = part->follower.view();
    if (now.steady >= view.next_look() || view.next_look() == steady_clock::time_point::max())
      view.tick(now);
    view.set_full(full_of(*part), now);
    if (view.unconfirmed()) part->follower.want_confirmation();
    next = std::min(next, view.next_look());
    any_dirty = any_dirty || view.dirty();
  }
  if (any_dirty) {
    for (const auto& part : parts) wanted.merge(part->follower.view().names());
    names.want(wanted);
  }
  if (synced_at && !delivered) next = std::min(next, *synced_at + kFirstBackendNames);
  return steady_clock::now() + std::max<steady_clock::duration>(next - now.steady, 1ms);
}

// Told by etcd, or proved by a write of our own.
std::string EtcdSource::Impl::full_of(const Part& part) {
  if (!part.follower.full().empty()) return part.follower.full();
  return part.publisher.found_full() ? part.publisher.error() : "";
}

bool EtcdSource::Impl::ready() {
  for (const auto& part : parts)
    if (!part->follower.has_synced()) return false;
  const auto now = clocks.steady();
  if (!synced_at) synced_at = now;
  return delivered || !names.any_pending() || now - *synced_at >= kFirstBackendNames;
}

std::optional<Error> EtcdSource::Impl::take_error() {
  for (const auto& part : parts)
    if (!part->follower.error().empty()) {
      if (std::exchange(error_told, true)) return std::nullopt;
      news_after_error = true;
      return Error{{}, part->follower.error()};
    }
  error_told = false;
  return std::nullopt;
}

Snapshot EtcdSource::Impl::assemble() {
  const Moment now = clocks.now();
  const auto lookup = [this](const std::string& name) {
    const NameCache::Answer answer = names.find(name);
    return MerlionView::Lookup{answer.ip, answer.pending, answer.error};
  };
  Snapshot out;
  out.as_of = now.wall;
  out.lapses = true;
  EtcdPositions positions;
  std::map<ServiceKey, ServicePtr> by_key;
  for (const auto& part : parts) {
    MerlionView& view = part->follower.view();
    if (view.dirty()) {
      part->built = view.build(lookup);
      part->publisher.changed();
    }
    const auto& built = part->built;
    if (built.absence == Absence::Guarded || view.suspicious(now)) out.absence = Absence::Guarded;
    if (built.absence == Absence::Guarded || view.suspicious_listing(now)) out.lapses = false;
    positions.emplace(view.prefix(), part->follower.position());
    add_warnings(*part, out);
    if (!built.service) continue;
    const auto [it, fresh] = by_key.emplace(built.service->key, built.service);
    if (!fresh)
      out.warnings.push_back(
          fmt::format("etcd key {}/listen-address: {} is already the address of {}; ignored",
                      view.prefix(), built.service->key.to_string(), it->second->origin));
  }
  check_state_prefixes(out.warnings);
  for (auto& [key, service] : by_key) out.services.push_back(std::move(service));
  out.revision = format_positions(positions);
  return out;
}

void EtcdSource::Impl::add_warnings(const Part& part, Snapshot& out) {
  const auto& all = part.built.warnings;
  const std::size_t shown = std::min(all.size(), kShownWarnings);
  out.warnings.insert(out.warnings.end(), all.begin(),
                      all.begin() + static_cast<std::ptrdiff_t>(shown));
  if (shown < all.size())
    out.warnings.push_back(fmt::format("etcd prefix {}: {} more warnings like these",
                                       part.view().prefix(), all.size() - shown));
  if (part.follower.unread() > 0)
    out.warnings.push_back(
        fmt::format("etcd prefix {}: the values of {} keys that lbd does not need are too large to "
                    "be read and are left alone; they slow down every listing: remove them",
                    part.view().prefix(), part.follower.unread()));
}

bool EtcdSource::Impl::matters(const Snapshot& next) const {
  return !delivered || (news_after_error && !error_told) || delivered->services != next.services ||
         delivered->warnings != next.warnings || delivered_level != log_level();
}

// The most talkative of all prefixes: there is one log.
std::optional<LogLevel> EtcdSource::Impl::log_level() const {
  std::optional<LogLevel> out;
  for (const auto& part : parts)
    if (const MerlionConfig* site = part->view().config(); site != nullptr && site->log_level)
      out = std::min(out.value_or(*site->log_level), *site->log_level);
  return out;
}

// Where one prefix would publish what another one watches or publishes.
void EtcdSource::Impl::check_state_prefixes(std::vector<std::string>& warnings) {
  for (const auto& part : parts) {
    part->state_error.clear();
    const std::string state = part->state_prefix();
    if (state.empty()) continue;
    for (const auto& other : parts) {
      if (other == part) break;
      if (overlaps_state(state, other->state_prefix()))
        part->state_error = fmt::format("{} publishes there already", other->view().prefix());
    }
    for (const auto& other : parts) {
      const MerlionConfig* site = other->view().config();
      if (other == part || site == nullptr) continue;
      for (const std::string& watched : {other->view().prefix(), site->upstream_prefix})
        if (overlaps_state(state, watched))
          part->state_error = fmt::format("{} is watched for {}", watched, other->view().prefix());
    }
    if (part->state_error.empty()) continue;
    warnings.push_back(
        fmt::format("etcd key {}/state-etcd-prefix: no states are published below {}: {}",
                    part->view().prefix(), state, part->state_error));
  }
}

MerlionPublisher::Wanted EtcdSource::Impl::wanted_states(const Part& part) const {
  MerlionPublisher::Wanted out;
  if (!part.follower.has_synced() || !part.built.service || part.reported.empty()) return out;
  out.prefix = part.state_prefix();
  out.api = part.follower.position().api;
  if (out.prefix.empty()) return out;
  for (const auto& [name, backend] : part.view().backends()) {
    MerlionBackendState state;
    state.last_seen = backend.last_seen();
    state.disabled = backend.disabled();
    state.unavailable = backend.unavailable();
    if (backend.exit()) {
      state.exited_at = backend.exit()->at;
      state.exit_reason = backend.exit()->reason;
    }
    out.state.emplace(name, std::move(state));
  }
  for (auto& [name, state] : out.state)
    if (const auto report = part.reported.find(name); report != part.reported.end()) {
      state.active_connections = report->second.active_connections;
      state.weight = report->second.effective_weight;
    }
  return out;
}

EtcdSource::EtcdSource(asio::io_context& io, EtcdSourceConfig config, std::optional<Snapshot> saved,
                       Clocks clocks)
    : impl_(std::make_shared<Impl>(io, std::move(config), std::move(saved), std::move(clocks))) {}

EtcdSource::~EtcdSource() { impl_->stop(); }

asio::awaitable<Result<Snapshot>> EtcdSource::next() {
  const std::shared_ptr<Impl> self = impl_;
  if (self->cannot_start) {
    const auto woken = co_await self->changed.wait(steady_clock::now() + kEtcdCannotStart);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "etcd");
  }
  if (!self->started) {
    auto started = self->start();
    self->started = started.has_value();
    self->cannot_start = !started;
    if (!started) co_return tl::unexpected(started.error());
  }
  for (;;) {
    const auto deadline = self->look();
    if (auto error = self->take_error()) co_return tl::unexpected(std::move(*error));
    if (self->ready()) {
      Snapshot snapshot = self->assemble();
      if (self->matters(snapshot)) {
        self->news_after_error = false;
        self->delivered = snapshot;
        self->delivered_level = self->log_level();
        co_return snapshot;
      }
    }
    const auto woken = co_await self->changed.wait(deadline);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "etcd");
  }
}

SourceStatus EtcdSource::status() const {
  SourceStatus out;
  out.connected = !impl_->parts.empty();
  for (const auto& part : impl_->parts) {
    const EtcdFollower& follower = part->follower;
    out.connected = out.connected && follower.watching();
    if (!follower.error().empty())
      out.error = follower.error();
    else if (const std::string full = Impl::full_of(*part); !full.empty())
      out.error = MerlionView::full_text(full);
    else if (!part->publisher.error().empty())
      out.error = part->publisher.error();
    out.unconfigured = out.unconfigured || (follower.has_synced() && !follower.view().config());
    out.unreachable = out.unreachable || follower.none_answers();
    const EtcdPosition& at = follower.position();
    out.position = fmt::format("{} {} revision {}", follower.endpoint(),
                               at.api == etcd::ApiVersion::V2 ? "v2" : "v3", at.header.revision);
  }
  return out;
}

void EtcdSource::unused(const Unused& backends) {
  for (const auto& part : impl_->parts)
    part->follower.view().set_unused(backends, impl_->clocks.now());
  impl_->changed.notify();
}

bool EtcdSource::connect_failed(const ConnectFailure& failure) {
  if (!tells_of_backend(failure)) return false;
  bool look = false;
  for (const auto& part : impl_->parts)
    if (part->built.service && part->built.service->key == failure.service) {
      look = part->follower.view().connect_failed(failure, impl_->clocks.now()) || look;
      if (part->follower.view().dirty()) impl_->changed.notify();
    }
  return look;
}

bool EtcdSource::wants_reports() const {
  return std::any_of(impl_->parts.begin(), impl_->parts.end(),
                     [](const auto& part) { return !part->state_prefix().empty(); });
}

void EtcdSource::report(const std::vector<ServiceReport>& services) {
  for (const auto& part : impl_->parts) {
    const ServicePtr& service = part->built.service;
    const auto report = std::find_if(services.begin(), services.end(), [&](const auto& r) {
      return service && r.key == service->key;
    });
    if (report == services.end()) continue;
    part->reported.clear();
    for (const BackendReport& backend : report->backends) part->reported[backend.id] = backend;
    part->publisher.changed();
  }
}

std::optional<LogLevel> EtcdSource::log_level() const { return impl_->log_level(); }

}  // namespace lb
