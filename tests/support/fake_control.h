// A Control whose answers are plain members, with a small world in it: a TCP service of two backends,
// one of them drained, and a UDP service without any. Used by the tests of api and lbctl.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/control.h"
#include "api/filter.h"

namespace lb::test {

inline SysTime at(std::string_view iso) { return *parse_iso8601(iso); }
inline const SysTime kStarted = at("2026-11-22T02:00:00.000Z");
inline const SysTime kNow = at("2026-11-22T02:13:55.123Z");

inline DesiredServicePtr web_service() {
  auto web = std::make_shared<DesiredService>();
  web->key = *ServiceKey::parse("127.0.0.1:8080");
  web->name = "web";
  web->source = "file";
  DesiredBackend one;
  one.backend = {.id = "web-1",
                 .host = "node1",
                 .address = *Address::parse("10.0.0.1:9001"),
                 .origin = "/etc/lbd/services.d/web.toml"};
  one.since = kStarted;
  one.effective_weight = 100;
  DesiredBackend two;
  two.backend = one.backend;
  two.backend.id = "web-2";
  two.backend.host = "node2";
  two.backend.address = *Address::parse("10.0.0.2:9001");
  two.backend.origin.clear();
  two.state = BackendState::Draining;
  two.reason = Reason::Operator;
  two.since = kNow - std::chrono::seconds(95);
  web->backends = {one, two};
  return web;
}

inline DesiredServicePtr dns_service() {
  auto dns = std::make_shared<DesiredService>();
  dns->key = *ServiceKey::parse("udp://[::1]:53");
  dns->name = "dns";
  dns->balance = Balance::SourceHash;
  dns->source = "etcd";
  dns->condition = Condition::NoBackends;
  dns->text = "no usable backend: clients get ECONNREFUSED";
  return dns;
}

inline DrainedBackend drained_backend(std::uint64_t connections) {
  return {.service = *ServiceKey::parse("127.0.0.1:8080"),
          .service_name = "web",
          .id = "web-2",
          .host = "node2",
          .address = *Address::parse("10.0.0.2:9001"),
          .state = BackendState::Draining,
          .reason = Reason::Operator,
          .connections = connections};
}

inline const std::string kOrderKey = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

class FakeControl : public Control {
 public:
  FakeControl() {
    services = {{web_service(), {{3, 120, 1, 2, 3}, {1, 80, 0, 0, 0}}}, {dns_service(), {}}};
    state.version = "0.1.0";
    state.pid = 4242;
    state.started = kStarted;
    state.now = kNow;
    state.config = "/etc/lbd/lbd.toml";
    state.dataplane = {.mode = "ebpf",
                       .cgroup = "/sys/fs/cgroup",
                       .bpffs = "/sys/fs/bpf/lbd",
                       .services = {2, 16384},
                       .backends = {2, 131072},
                       .slots = {4, 1048576},
                       .recounts = 1,
                       .lost_events = 0,
                       .notes = {},
                       .lost = {}};
    state.services = 2;
    state.backends = 2;
    state.active_connections = 4;
    state.loop = {std::chrono::microseconds(12'500), kStarted, 0};
    source_list = {{.name = "file",
                    .type = "file",
                    .state = "ok",
                    .error = "",
                    .position = "/etc/lbd/services.d",
                    .revision = "",
                    .as_of = kStarted,
                    .saved = false,
                    .services = 1,
                    .backends = 2,
                    .warnings = {},
                    .lost_claims = {},
                    .held = {}}};
  }

  asio::awaitable<Result<std::vector<ServiceView>>> list(std::string filter) override {
    if (broken) co_return tl::unexpected(*broken);
    co_return filter_services(services, filter);
  }
  asio::awaitable<Result<Status>> status() override {
    if (broken) co_return tl::unexpected(*broken);
    co_return state;
  }
  Result<std::vector<SourceView>> sources() override {
    if (broken) return tl::unexpected(*broken);
    return source_list;
  }
  Result<Explanation> explain(ServiceKey to) override {
    Explanation out = explanation;
    out.asked = to;
    return out;
  }

  asio::awaitable<Result<std::vector<DrainedBackend>>> drain(DrainRequest request) override {
    drains.push_back(request);
    if (request.what.target != "10.0.0.2:9001" && request.what.target != "node2")
      co_return fail(ENOENT, "no backend matches " + request.what.target);
    co_return std::vector<DrainedBackend>{drained_backend(left.empty() ? 0 : left.front())};
  }
  asio::awaitable<Result<std::vector<DrainedBackend>>> undrain(DrainTarget what) override {
    undrains.push_back(what);
    if (what.target != "10.0.0.2:9001") co_return fail(ENOENT, what.target + " is not drained");
    DrainedBackend back = drained_backend(1);
    back.state = BackendState::Active;
    back.reason = Reason::None;
    co_return std::vector<DrainedBackend>{back};
  }
  // Each call takes one number of `left`; the last one stays.
  Result<std::vector<DrainedBackend>> drain_progress(DrainTarget) override {
    if (left.empty()) return std::vector<DrainedBackend>{};
    if (left.size() > 1) left.pop_front();
    return std::vector<DrainedBackend>{drained_backend(left.front())};
  }
  Result<std::vector<relay::ListenerView>> listeners() override {
    if (broken) return tl::unexpected(*broken);
    return listener_list;
  }
  asio::awaitable<Result<relay::FleetProgress>> drain_fleet(DrainTarget what) override {
    fleet_drains.push_back(what);
    if (what.target != "10.0.0.2:9001") co_return fail(ENOENT, "no backend or host " + what.target);
    co_return fleet.front();
  }
  asio::awaitable<Result<relay::FleetProgress>> undrain_fleet(DrainTarget what) override {
    if (what.target != "10.0.0.2:9001")
      co_return fail(ENOENT, "the fleet does not drain " + what.target);
    co_return fleet.front();
  }
  // Each call takes one of `fleet`; the last one stays.
  Result<relay::FleetProgress> fleet_progress(DrainTarget) override {
    if (fleet.size() > 1) fleet.pop_front();
    return fleet.front();
  }
  std::vector<OrderKeys::View> order_keys() override { return keys; }
  Result<std::string> trust(const std::string& what, bool forget) override {
    trusted.push_back((forget ? "forget " : "trust ") + what);
    if (what != "updater-1:7676") return fail(ENOENT, "'" + what + "' is no updater");
    return kOrderKey;
  }
  asio::awaitable<Result<Accepted>> accept(std::string source) override {
    if (source != "etcd") co_return fail(ENOENT, "no source is named " + source);
    co_return Accepted{source, 7};
  }

  std::vector<ServiceView> services;
  Status state;
  std::vector<SourceView> source_list;
  Explanation explanation;
  std::optional<Error> broken;  // what reading fails with
  std::vector<DrainRequest> drains;
  std::vector<DrainTarget> undrains;
  std::vector<relay::ListenerView> listener_list;
  std::vector<DrainTarget> fleet_drains;
  std::vector<OrderKeys::View> keys;
  std::vector<std::string> trusted;        // "trust WHAT", "forget WHAT"
  std::deque<relay::FleetProgress> fleet;  // answers of fleet_progress(), call by call
  std::deque<std::uint64_t> left;          // connections of the drained backend, call by call
};

}  // namespace lb::test
