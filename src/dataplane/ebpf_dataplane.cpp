#include "dataplane/ebpf_dataplane.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

#include "base/spawn.h"
#include "base/worker.h"
#include "ebpf/events.h"
#include "ebpf/kernel_objects.h"
#include "ebpf/links.h"
#include "ebpf/load.h"
#include "ebpf/neighbours.h"
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
                bpf::Links links, bpf::Maps maps)
      : options_(std::move(options)),
        lock_(std::move(lock)),
        skeleton_(std::move(skeleton)),
        links_(std::move(links)),
        table_(std::move(maps)),
        grace_(io, "lbd-grace") {}

  Result<> start(asio::io_context& io);

  Result<Observed> read() override { return Observed{table_.observe_all()}; }
  Result<ObservedService> read(const ServiceKey& key) override;
  Result<> upsert(const ProgrammedService& service) override {
    return table_.upsert(service, Clock::now());
  }
  Result<> remove(const ServiceKey& key) override { return table_.remove(key, Clock::now()); }
  void settle(Settled done) override;
  Result<> collect() override;
  Result<std::uint64_t> count_udp(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  void on_connect_failure(std::function<void(const ConnectFailure&)> handler) override {
    handler_ = std::move(handler);
  }
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  void on_event(const lb_event& event);
  Result<> recount();
  Result<> repair();
  // Sockets steered through `key` to `backend`.
  Result<std::vector<lb_socket>> sockets_of(const ServiceKey& key, const Address& backend);
  Result<> end_retired_udp();

  EbpfOptions options_;
  UniqueFd lock_;  // of the pin folder
  bpf::Skeleton skeleton_;
  bpf::Links links_;  // after skeleton_: let go of the hooks first (they stay pinned)
  bpf::Table table_;
  std::unique_ptr<bpf::EventRing> ring_;
  std::function<void(const ConnectFailure&)> handler_;
  std::uint64_t recounts_ = 0;
  std::uint64_t missed_events_ = 0;  // when the last recount began
  std::uint64_t repairs_ = 0;
  Clock::time_point last_look_;
  Worker grace_;
};

Result<> EbpfDataplane::start(asio::io_context& io) {
  LB_CHECK(table_.restore(Clock::now()));
  // An lbd that was away cannot know whether every event was counted; the sockets do.
  LB_CHECK(recount());
  LB_TRY(ring_, bpf::EventRing::open(io, bpf_map__fd(skeleton_->maps.events),
                                     [this](const lb_event& event) { on_event(event); }));
  spawn(io, "bpf-events", [ring = ring_.get()] { return ring->run(); });
  return {};
}

void EbpfDataplane::on_event(const lb_event& event) {
  const auto place = table_.place_of(event.backend, event.generation);
  if (place && handler_)
    handler_({kind_of(event), place->service, place->backend, static_cast<int>(event.error)});
}

Result<ObservedService> EbpfDataplane::read(const ServiceKey& key) {
  auto observed = table_.observe(key);
  if (!observed) return fail(ENOENT, key.to_string());
  return *std::move(observed);
}

void EbpfDataplane::settle(Settled done) {
  grace_.run(bpf::wait_for_grace_period,
             [this, began = Clock::now(), done = std::move(done)](Result<> waited) {
               if (waited) table_.grace_passed(began);
               done(std::move(waited));
             });
}

Result<> EbpfDataplane::recount() {
  // An event that is missed in the middle of a recount spoils it.
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    missed_events_ = links_.missed_events();
    LB_TRY(const std::uint64_t wrong,
           bpf::recount(*skeleton_, table_.maps(), table_.counting_lines(), !options_.host_scope));
    ++recounts_;
    if (wrong > 0) spdlog::info("dataplane=ebpf recounted corrected={}", wrong);
    if (links_.missed_events() == missed_events_) break;
  }
  return {};
}

// Somebody removed a hook or its pin: put it back, and count anew what went uncounted.
Result<> EbpfDataplane::repair() {
  spdlog::warn("dataplane=ebpf a hook was removed from {} or unpinned from {}, putting it back",
               options_.cgroup, options_.bpffs);
  LB_CHECK(links_.repair(*skeleton_, options_.bpffs));
  ++repairs_;
  return recount();
}

Result<> EbpfDataplane::collect() {
  const auto now = Clock::now();
  table_.grace_passed(now - bpf::Table::kGrace);
  LB_CHECK(end_retired_udp());
  LB_TRY(const bool below_zero, table_.collect(now));
  constexpr auto kLookEvery = std::chrono::seconds(2);  // ten queries of the kernel
  if (now - last_look_ >= kLookEvery) {
    last_look_ = now;
    if (!links_.intact()) return repair();
  }
  const bool missed = links_.missed_events() != missed_events_;  // two queries
  return below_zero || missed ? recount() : Result<>{};
}

// A connected UDP socket never hears that its backend is gone: it would send there for ever.
Result<> EbpfDataplane::end_retired_udp() {
  const auto retired = table_.retired_udp(Clock::now());
  if (retired.empty()) return {};
  LB_TRY(auto sockets, bpf::steered_udp(*skeleton_));
  std::erase_if(sockets, [&](const lb_socket& socket) {
    return std::find(retired.begin(), retired.end(), socket.backend) == retired.end();
  });
  LB_TRY(const std::uint64_t ended, bpf::destroy(sockets));
  if (ended > 0) spdlog::info("dataplane=ebpf ended udp_sockets={} of removed backends", ended);
  return {};
}

Result<std::vector<lb_socket>> EbpfDataplane::sockets_of(const ServiceKey& key,
                                                         const Address& backend) {
  LB_TRY(auto sockets, key.protocol == Protocol::Udp ? bpf::steered_udp(*skeleton_)
                                                     : bpf::steered_tcp(*skeleton_));
  std::erase_if(sockets, [&](const lb_socket& socket) {
    const auto place = table_.place_of(socket.backend, socket.generation);
    return !place || place->service != key || place->backend != backend;
  });
  return sockets;
}

Result<std::uint64_t> EbpfDataplane::count_udp(const ServiceKey& key, const Address& backend) {
  LB_TRY(const auto sockets, sockets_of(key, backend));
  return sockets.size();
}

Result<std::uint64_t> EbpfDataplane::terminate(const ServiceKey& key, const Address& backend) {
  LB_TRY(const auto sockets, sockets_of(key, backend));
  return bpf::destroy(sockets);
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
  if (repairs_ > 0)
    out.notes.push_back(
        fmt::format("hooks were removed by somebody and put back {} times", repairs_));
  return out;
}

}  // namespace

Result<std::unique_ptr<Dataplane>> open_ebpf_dataplane(asio::io_context& io, EbpfOptions options) {
  if (options.cgroup.empty()) {
    LB_TRY(options.cgroup, bpf::find_cgroup2());
  }
  LB_CHECK(bpf::refuse_second_lbd(options.cgroup, options.bpffs));
  const bpf::Options load_options{.cgroup = options.cgroup,
                                  .bpffs = options.bpffs,
                                  .host_scope = options.host_scope,
                                  .sizes = {.max_services = options.max_services,
                                            .max_backends = options.max_backends,
                                            .max_slots = options.max_slots}};
  LB_TRY(bpf::Loaded loaded, bpf::load(load_options));
  LB_TRY(bpf::Links links, bpf::Links::attach(*loaded.skeleton, options.cgroup, options.bpffs));
  LB_CHECK(bpf::finish_move(load_options, loaded));
  auto out = std::make_unique<EbpfDataplane>(io, std::move(options), std::move(loaded.lock),
                                             std::move(loaded.skeleton), std::move(links),
                                             std::move(loaded.maps));
  LB_CHECK(out->start(io));
  return out;
}

Result<> detach_ebpf(const std::string& bpffs) { return bpf::remove_pins(bpffs); }

}  // namespace lb
