#include "dataplane/ebpf_dataplane.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

#include "base/spawn.h"
#include "base/upkeep.h"
#include "base/worker.h"
#include "dataplane/host_addresses.h"
#include "ebpf/events.h"
#include "ebpf/kernel_objects.h"
#include "ebpf/links.h"
#include "ebpf/load.h"
#include "ebpf/neighbours.h"
#include "ebpf/own_cgroups.h"
#include "ebpf/table.h"
#include "ebpf/walk.h"

namespace lb {
namespace {

using bpf::Clock;

ConnectFailure::Kind kind_of(const lb_event& event) {
  switch (event.kind) {
    case LB_EVENT_REFUSED:
      return ConnectFailure::Kind::Refused;
    case LB_EVENT_TIMED_OUT:
      return ConnectFailure::Kind::TimedOut;
    case LB_EVENT_GAVE_UP:
      return ConnectFailure::Kind::GaveUp;
    case LB_EVENT_SYN_RETRANSMITTED:
      return ConnectFailure::Kind::SynRetransmitted;
    default:
      return ConnectFailure::Kind::Other;
  }
}

class EbpfDataplane final : public Dataplane {
 public:
  EbpfDataplane(asio::io_context& io, EbpfOptions options, UniqueFd lock, bpf::Skeleton skeleton,
                bpf::Links links, bpf::Maps maps, std::string maps_folder, bpf::Refusals refused,
                bpf::OwnCgroups own_cgroups)
      : options_(std::move(options)),
        lock_(std::move(lock)),
        skeleton_(std::move(skeleton)),
        links_(std::move(links)),
        own_cgroups_(std::move(own_cgroups)),
        maps_folder_(std::move(maps_folder)),
        refused_(std::move(refused)),
        counting_(has(bpf::kCountingHook)),
        walk_(*skeleton_,
              {.counting = counting_, .tcp = has(bpf::kTcpWalkHook), .udp = has(bpf::kUdpWalkHook)},
              !options_.host_scope),
        table_(std::move(maps), counting_),
        grace_(io, "lbd-grace") {}

  ~EbpfDataplane() override {
    if (ring_) ring_->close();
  }
  EbpfDataplane(const EbpfDataplane&) = delete;
  EbpfDataplane& operator=(const EbpfDataplane&) = delete;

  Result<> start(asio::io_context& io);

  Result<std::vector<ServiceKey>> keys() override { return table_.keys(); }
  Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  Result<> upsert(const ProgrammedService& service) override {
    return table_.upsert(service, Clock::now());
  }
  Result<> remove(const ServiceKey& key) override { return table_.remove(key, Clock::now()); }
  void settle(Settled done) override;
  Result<> collect() override;
  // Of 110,000 keys a hundredth is compared in 2 ms.
  [[nodiscard]] std::chrono::milliseconds pace() const override {
    return has_many_keys() ? kCollect / 10 : kCollect;
  }
  Result<std::uint64_t> count_sockets(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  void on_connect_failure(std::function<void(const ConnectFailure&)> handler) override {
    handler_ = std::move(handler);
  }
  std::optional<std::chrono::milliseconds> looked(const ServiceKey& key, const Address& backend,
                                                  Look look) override;
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  static constexpr std::chrono::milliseconds kCollect{1'000};

  [[nodiscard]] bool has_many_keys() const { return table_.used_keys() > 10'000; }
  [[nodiscard]] std::vector<LostAbility> lost() const;
  [[nodiscard]] bool has(std::string_view hook) const { return !refused_.contains(hook); }
  void on_event(const lb_event& event);
  void on_ejected(const bpf::Table::Ejected& ejected, ConnectFailure::Kind kind, int error = 0);
  void open_ring(asio::io_context& io);
  Result<> recount();
  void look_after_all();
  [[nodiscard]] Result<std::size_t> keep_hooks();
  // Whether a socket was steered through `key` to `backend`.
  [[nodiscard]] bool leads_to(const lb_socket& socket, const ServiceKey& key,
                              const Address& backend) const;
  Result<> end_retired_udp();

  EbpfOptions options_;
  UniqueFd lock_;  // of the pin folder
  bpf::Skeleton skeleton_;
  bpf::Links links_;  // after skeleton_: let go of the hooks first (they stay pinned)
  bpf::OwnCgroups own_cgroups_;
  std::string maps_folder_;
  bpf::Refusals refused_;
  bool counting_;
  bpf::SocketWalk walk_;
  bpf::Table table_;
  std::shared_ptr<bpf::EventRing> ring_;  // its coroutine may outlive this object
  std::function<void(const ConnectFailure&)> handler_;
  std::uint64_t recounts_ = 0;
  std::uint64_t missed_events_ = 0;  // when the last recount began
  Upkeep upkeep_{"dataplane=ebpf"};
  // The last list of sockets, for the many backends of one look at the drains.
  std::vector<lb_socket> listed_;
  std::optional<std::pair<Protocol, Clock::time_point>> listed_at_;
  std::string recount_error_;  // why the counts could not be checked; tried again
  Clock::time_point next_recount_ = Clock::time_point::min();
  Clock::time_point collected_{};
  Worker grace_;
};

Result<> EbpfDataplane::start(asio::io_context& io) {
  table_.set_max_ejected(options_.max_ejected);
  LB_CHECK(table_.restore(Clock::now()));
  table_.set_own_addresses(read_host_addresses());
  // An lbd that was away cannot know whether every event was counted; the sockets do.
  (void)recount();
  open_ring(io);
  look_after_all();
  return {};
}

// Failed connects are told through it; without it everything else works.
void EbpfDataplane::open_ring(asio::io_context& io) {
  auto ring = bpf::EventRing::open(io, bpf_map__fd(skeleton_->maps.events),
                                   [this](const lb_event& event) { on_event(event); });
  if (!ring) {
    refused_.emplace("ring buffer", std::move(ring).error());
    return;
  }
  ring_ = *std::move(ring);
  spawn(io, "bpf-events", [ring = ring_] { return ring->run(); });
}

void EbpfDataplane::on_event(const lb_event& event) {
  const auto place = table_.place_of(event.backend, event.generation);
  if (!place || !handler_) return;
  ConnectFailure failure{.kind = kind_of(event),
                         .service = place->service,
                         .backend = place->backend,
                         .error = static_cast<int>(event.error),
                         .plain = event.plain != 0};
  if (const auto ejected = table_.notice_ejection(event.backend, Clock::now()))
    on_ejected(*ejected, failure.kind, failure.error);
  else
    handler_(failure);
}

void EbpfDataplane::on_ejected(const bpf::Table::Ejected& ejected, ConnectFailure::Kind kind,
                               int error) {
  spdlog::log(ejected.again ? spdlog::level::debug : spdlog::level::warn,
              "service={} backend={} ejected for={} ms: it refuses connections",
              ejected.place.service.to_string(), ejected.place.backend.to_string(),
              ejected.lasts.count());
  if (handler_)
    handler_({.kind = kind,
              .service = ejected.place.service,
              .backend = ejected.place.backend,
              .error = error,
              .plain = true,
              .look_after = ejected.look_after});
}

std::optional<std::chrono::milliseconds> EbpfDataplane::looked(const ServiceKey& key,
                                                               const Address& backend, Look look) {
  const auto now = Clock::now();
  const bool was_ejected = table_.is_ejected(key, backend);
  const auto again = look == Look::Well ? table_.readmit(key, backend, now)
                                        : table_.eject(key, backend, look == Look::Hangs, now);
  if (was_ejected && !table_.is_ejected(key, backend))
    spdlog::info("service={} backend={} takes connections again: lbd could connect",
                 key.to_string(), backend.to_string());
  else if (!was_ejected && table_.is_ejected(key, backend))
    spdlog::warn("service={} backend={} ejected: {}", key.to_string(), backend.to_string(),
                 look == Look::Hangs ? "it does not answer lbd either" : "it refuses lbd, too");
  return again;
}

Result<Observed> EbpfDataplane::read_some(std::span<const ServiceKey> keys) {
  Observed out;
  for (const ServiceKey& key : keys)
    if (auto service = table_.observe(key)) out.services.push_back(*std::move(service));
  return out;
}

void EbpfDataplane::settle(Settled done) {
  grace_.run(bpf::wait_for_grace_period,
             [this, began = Clock::now(), done = std::move(done)](Result<> waited) {
               if (waited) table_.grace_passed(began);
               done(std::move(waited));
             });
}

// An error is kept for status, and the recount tried again: a count that cannot be checked is no reason
// to steer no longer.
Result<> EbpfDataplane::recount() {
  constexpr auto kRetry = std::chrono::seconds(10);
  // An event that is missed in the middle of a recount spoils it.
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    missed_events_ = links_.missed_events();
    const auto wrong = walk_.recount(table_.maps(), table_.counting_lines());
    if (!wrong) {
      if (recount_error_ != wrong.error().message())
        spdlog::error("dataplane=ebpf cannot recount: {}", wrong.error().message());
      recount_error_ = wrong.error().message();
      next_recount_ = Clock::now() + kRetry;
      return tl::unexpected(wrong.error());
    }
    ++recounts_;
    recount_error_.clear();
    if (*wrong > 0 && counting_) spdlog::info("dataplane=ebpf recounted corrected={}", *wrong);
    if (links_.missed_events() == missed_events_) break;
  }
  return {};
}

void EbpfDataplane::look_after_all() {
  constexpr std::chrono::milliseconds kLookEvery{2'000};  // some fifty questions to the kernel
  upkeep_.add("the pinned maps", kLookEvery, [this] {
    return bpf::put_back_pins(options_.bpffs, *skeleton_, maps_folder_, lock_);
  });
  upkeep_.add("the hooks", kLookEvery, [this] { return keep_hooks(); });
  upkeep_.add("the cgroups of other lbds", std::chrono::milliseconds(0),
              [this]() -> Result<std::size_t> {
                LB_CHECK(own_cgroups_.follow());
                return 0;
              });
  upkeep_.add("the addresses of this host", kLookEvery, [this]() -> Result<std::size_t> {
    table_.set_own_addresses(read_host_addresses());
    return 0;
  });
  upkeep_.add("the keys of services", std::chrono::milliseconds(0),
              [this] { return table_.put_back_keys(Clock::now()); });
}

// What went uncounted while a hook was away is counted after it is back.
Result<std::size_t> EbpfDataplane::keep_hooks() {
  if (links_.intact()) return 0;
  LB_CHECK(links_.repair(*skeleton_, options_.bpffs));
  (void)recount();
  return 1;
}

Result<> EbpfDataplane::collect() {
  const auto now = Clock::now();
  upkeep_.run(now);
  // What looks at all retired lines is not done ten times a second.
  if (has_many_keys() && now - collected_ < kCollect) return {};
  collected_ = now;
  table_.grace_passed(now - bpf::Table::kGrace);
  LB_CHECK(end_retired_udp());
  // Where the kernel does not count, a walk tells which retired lines are idle; a line is not freed on
  // an old number.
  if (!counting_ && table_.has_retired_tcp()) LB_CHECK(recount());
  LB_TRY(const bool below_zero, table_.collect(now));
  for (const auto& ejected : table_.take_ejected(now))
    on_ejected(ejected, ConnectFailure::Kind::Ejected);
  if (!recount_error_.empty() && now >= next_recount_) return recount();
  const bool missed = links_.missed_events() != missed_events_;  // two queries
  return below_zero || missed ? recount() : Result<>{};
}

// A connected UDP socket never hears that its backend is gone: it would send there for ever.
Result<> EbpfDataplane::end_retired_udp() {
  const auto retired = table_.retired_udp(Clock::now());
  if (retired.empty() || !options_.end_udp || !has(bpf::kUdpWalkHook)) return {};
  LB_TRY(const std::uint64_t ended, walk_.end(Protocol::Udp, [&](const lb_socket& socket) {
    return std::find(retired.begin(), retired.end(), socket.backend) != retired.end();
  }));
  if (ended > 0) spdlog::info("dataplane=ebpf ended udp_sockets={} of removed backends", ended);
  return {};
}

bool EbpfDataplane::leads_to(const lb_socket& socket, const ServiceKey& key,
                             const Address& backend) const {
  const auto place = table_.place_of(socket.backend, socket.generation);
  return place && place->service == key && place->backend == backend;
}

Result<std::uint64_t> EbpfDataplane::count_sockets(const ServiceKey& key, const Address& backend) {
  // Shorter than the time between two looks at one drain: each look sees a list of its own.
  constexpr auto kFresh = std::chrono::milliseconds(50);
  const auto now = Clock::now();
  if (!listed_at_ || listed_at_->first != key.protocol || now - listed_at_->second > kFresh) {
    listed_at_.reset();
    LB_TRY(listed_,
           key.protocol == Protocol::Udp ? walk_.steered_udp() : walk_.steered_tcp(table_.maps()));
    listed_at_ = {key.protocol, now};
  }
  return std::count_if(listed_.begin(), listed_.end(),
                       [&](const lb_socket& socket) { return leads_to(socket, key, backend); });
}

Result<std::uint64_t> EbpfDataplane::terminate(const ServiceKey& key, const Address& backend) {
  return walk_.end(key.protocol,
                   [&](const lb_socket& socket) { return leads_to(socket, key, backend); });
}

// What is lost is known by its section; the ring and the recount are none of the kernel's programs.
std::vector<LostAbility> EbpfDataplane::lost() const {
  std::vector<LostAbility> out;
  for (const auto& [what, error] : refused_) {
    const bpf::Hook* hook = bpf::find_hook(what);
    out.push_back({what, error.message(), hook ? hook->loss : "failed connects are not told"});
  }
  if (!recount_error_.empty())
    out.push_back({"recount", recount_error_, "counts since before the last start may be wrong"});
  return out;
}

DataplaneInfo EbpfDataplane::info() const {
  DataplaneInfo out;
  out.mode = "ebpf";
  out.cgroup = options_.cgroup;
  out.bpffs = options_.bpffs;
  out.max_services = options_.max_services;
  out.max_backends = options_.max_backends;
  out.max_slots = options_.max_slots;
  out.used_services = table_.used_services();
  out.used_backends = table_.used_lines();
  out.used_slots = table_.used_slots();
  out.recounts = recounts_;
  out.lost_events = const_cast<bpf::Table&>(table_).maps().control[0].lost_events;
  out.lost = lost();
  out.counts_connections = counting_;
  for (std::string& note : upkeep_.repairs()) out.notes.push_back(std::move(note));
  out.problems = upkeep_.problems();
  return out;
}

}  // namespace

Result<> check_places(const EbpfOptions& options) {
  if (!options.cgroup.empty()) LB_CHECK(bpf::open_cgroup(options.cgroup));
  if (!options.bpffs.empty()) LB_CHECK(bpf::check_bpffs(options.bpffs));
  return {};
}

Result<std::unique_ptr<Dataplane>> open_ebpf_dataplane(asio::io_context& io, EbpfOptions options) {
  if (options.cgroup.empty()) {
    LB_TRY(options.cgroup, bpf::find_cgroup2());
  }
  LB_CHECK(bpf::refuse_second_lbd(options.cgroup, options.bpffs));
  std::vector<std::string> own_cgroups = std::exchange(options.own_cgroups, {});
  const bpf::Options load_options{.cgroup = options.cgroup,
                                  .bpffs = options.bpffs,
                                  .host_scope = options.host_scope,
                                  .sizes = {.max_services = options.max_services,
                                            .max_backends = options.max_backends,
                                            .max_slots = options.max_slots},
                                  .refuse = options.refuse};
  LB_TRY(bpf::Loaded loaded, bpf::load(load_options));
  bpf::OwnCgroups cgroups(*loaded.skeleton, std::move(own_cgroups));
  // Before the hooks: what cannot be found now is looked for once they run.
  if (const auto found = cgroups.follow(); !found)
    spdlog::warn("dataplane=ebpf {}", found.error().message());
  LB_TRY(bpf::Links links,
         bpf::Links::attach(*loaded.skeleton, options.cgroup, options.bpffs, loaded.refused));
  LB_CHECK(bpf::finish_move(load_options, loaded));
  auto out = std::make_unique<EbpfDataplane>(io, std::move(options), std::move(loaded.lock),
                                             std::move(loaded.skeleton), std::move(links),
                                             std::move(loaded.maps), std::move(loaded.maps_folder),
                                             std::move(loaded.refused), std::move(cgroups));
  LB_CHECK(out->start(io));
  for (const LostAbility& lost : out->info().lost)
    spdlog::warn("dataplane=ebpf lost={} {} ({})", lost.what, lost.loss, lost.why);
  return out;
}

Result<> detach_ebpf(const std::string& bpffs) { return bpf::remove_pins(bpffs); }

}  // namespace lb
