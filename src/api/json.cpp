#include "api/json.h"

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"

namespace lb {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json time_or_null(const std::optional<SysTime>& time) {
  return time ? Json(format_iso8601(*time)) : Json(nullptr);
}

double in_seconds(std::chrono::milliseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

// The fields of a service, without its backends.
Json header_json(const DesiredService& service) {
  return {
      {"name", service.name},
      {"protocol", to_string(service.key.protocol)},
      {"address", service.key.address.to_string()},
      {"port", service.key.port},
      {"balance", to_string(service.balance)},
      {"source", service.source},
      {"condition", to_string(service.condition)},
      {"text", service.text},
  };
}

// `source` of a backend is as exact as its source can say: the file, key prefix or app it came from.
Json backend_json(const DesiredService& service, const DesiredBackend& desired,
                  const BackendCounts& counts) {
  const Backend& backend = desired.backend;
  return {
      {"id", backend.id},
      {"host", backend.host},
      {"address", backend.address.ip.to_string()},
      {"port", backend.address.port},
      {"weight", backend.weight},
      {"effective_weight", desired.effective_weight},
      {"state", to_string(desired.state)},
      {"reason", to_string(desired.reason)},
      {"text", desired.text},
      {"since", format_iso8601(desired.since)},
      {"active_connections", or_null(counts.active_connections)},
      {"total_connections", counts.total_connections},
      {"failed_connections",
       {{"refused", counts.refused},
        {"timed_out", counts.timed_out},
        {"unreachable", counts.unreachable},
        {"gave_up", counts.gave_up}}},
      {"ejections", counts.ejections},
      {"source", backend.origin.empty() ? service.source : backend.origin},
      {"uid", or_null(backend.uid)},
  };
}

Json usage_json(const Usage& usage) { return {{"used", usage.used}, {"max", usage.max}}; }

Json dataplane_json(const DataplaneView& dataplane) {
  Json lost = Json::array();
  for (const DataplaneView::Lost& l : dataplane.lost)
    lost.push_back({{"what", l.what}, {"why", l.why}, {"loss", l.loss}});
  return {
      {"mode", dataplane.mode},
      {"cgroup", dataplane.cgroup},
      {"bpffs", dataplane.bpffs},
      {"services", usage_json(dataplane.services)},
      {"backends", usage_json(dataplane.backends)},
      {"slots", usage_json(dataplane.slots)},
      {"recounts", dataplane.recounts},
      {"lost_events", dataplane.lost_events},
      {"writes", dataplane.writes},
      {"notes", dataplane.notes},
      {"lost", std::move(lost)},
      {"counts_connections", dataplane.counts_connections},
  };
}

Json to_value(const ServiceProblem& problem) {
  return {{"service", problem.key.to_string()},
          {"name", problem.name},
          {"condition", to_string(problem.condition)},
          {"text", problem.text}};
}

// The same shape, so that one look at `problems` finds both.
Json to_value(const OwnProblem& problem) {
  return {
      {"service", ""}, {"name", problem.what}, {"condition", "failing"}, {"text", problem.text}};
}

Json to_value(const ReconcileFailure& failure) {
  return {{"service", failure.key.to_string()},
          {"error", failure.error},
          {"since", format_iso8601(failure.since)},
          {"attempts", failure.attempts},
          {"retry_in_seconds", in_seconds(failure.retry_in)}};
}

Json to_value(const HeldBack& held) {
  return {{"source", held.source},
          {"missing", held.missing},
          {"of", held.of},
          {"since", format_iso8601(held.since)},
          {"text", held.text}};
}

Json to_value(const DrainOrder& order) {
  return {{"target", order.target},
          {"service", order.service},
          {"since", format_iso8601(order.since)},
          {"terminate_at", time_or_null(order.terminate_at)},
          {"fleet", order.fleet}};
}

Json to_value(const LostClaim& claim) {
  return {{"service", claim.key.to_string()}, {"name", claim.service}, {"winner", claim.winner}};
}

Json to_value(const SourceView& source) {
  Json lost = Json::array();
  for (const LostClaim& claim : source.lost_claims) lost.push_back(to_value(claim));
  return {
      {"name", source.name},
      {"type", source.type},
      {"state", source.state},
      {"error", source.error},
      {"position", source.position},
      {"revision", source.revision},
      {"as_of", time_or_null(source.as_of)},
      {"saved", source.saved},
      {"services", source.services},
      {"backends", source.backends},
      {"warnings", source.warnings},
      {"lost_claims", lost},
      {"held", source.held ? to_value(*source.held) : Json(nullptr)},
  };
}

template <class T>
Json array_of(const std::vector<T>& values) {
  Json out = Json::array();
  for (const T& value : values) out.push_back(to_value(value));
  return out;
}

Json loop_json(const LoopHealth& loop) {
  return {{"longest_stall_seconds", std::chrono::duration<double>(loop.longest_stall).count()},
          {"stalled_at", time_or_null(loop.stalled_at)},
          {"dropped_log_lines", loop.dropped_log_lines}};
}

}  // namespace

Json service_json(const ServiceView& view) {
  const DesiredService& service = *view.service;
  Json backends = Json::array();
  const BackendCounts unknown;  // a dataplane that could not be read leaves counts out
  for (std::size_t i = 0; i < service.backends.size(); ++i)
    backends.push_back(backend_json(service, service.backends[i],
                                    i < view.counts.size() ? view.counts[i] : unknown));
  Json out = header_json(service);
  out["backends"] = std::move(backends);
  return out;
}

Json status_json(const Status& status) {
  Json problems = array_of(status.own_problems);
  for (const ServiceProblem& problem : status.problems) problems.push_back(to_value(problem));
  return {
      {"version", status.version},
      {"pid", status.pid},
      {"started", format_iso8601(status.started)},
      {"uptime_seconds", in_seconds(status.now - status.started)},
      {"config", status.config},
      {"dataplane", dataplane_json(status.dataplane)},
      {"services", status.services},
      {"backends", status.backends},
      {"active_connections", status.active_connections},
      {"problems", std::move(problems)},
      {"warnings", status.warnings},
      {"failures", array_of(status.failures)},
      {"held", array_of(status.held)},
      {"drains", array_of(status.drains)},
      {"loop", loop_json(status.loop)},
  };
}

Json sources_json(std::span<const SourceView> sources) {
  Json list = Json::array();
  for (const SourceView& source : sources) list.push_back(to_value(source));
  return {{"sources", std::move(list)}};
}

Json explanation_json(const Explanation& explanation) {
  Json backends = Json::array();
  for (const ExplainedBackend& explained : explanation.backends) {
    Json one = backend_json(*explanation.service, explained.backend, explained.counts);
    one["candidate"] = explained.candidate;
    one["why"] = explained.why;
    one["listening"] = or_null(explained.listening);
    backends.push_back(std::move(one));
  }
  return {
      {"protocol", to_string(explanation.asked.protocol)},
      {"address", explanation.asked.address.to_string()},
      {"port", explanation.asked.port},
      {"outcome", to_string(explanation.outcome)},
      {"text", explanation.text},
      {"alias", explanation.alias},
      {"service", explanation.service ? header_json(*explanation.service) : Json(nullptr)},
      {"backends", std::move(backends)},
      {"notes", explanation.notes},
  };
}

Json drained_json(std::span<const DrainedBackend> backends) {
  Json list = Json::array();
  std::uint64_t total = 0;
  for (const DrainedBackend& backend : backends) {
    total += backend.connections;
    list.push_back({{"service", backend.service.to_string()},
                    {"name", backend.service_name},
                    {"id", backend.id},
                    {"host", backend.host},
                    {"address", backend.address.ip.to_string()},
                    {"port", backend.address.port},
                    {"state", to_string(backend.state)},
                    {"reason", to_string(backend.reason)},
                    {"connections", backend.connections}});
  }
  return {{"connections", total}, {"backends", std::move(list)}};
}

Json listeners_json(std::span<const relay::ListenerView> listeners) {
  Json list = Json::array();
  for (const relay::ListenerView& l : listeners) {
    Json counts = Json::array();
    std::uint64_t total = l.connections_left_out;
    for (const relay::Counts::Item& c : l.counts) {
      total += c.connections;
      counts.push_back({{"service", c.service.to_string()},
                        {"address", c.backend.ip.to_string()},
                        {"port", c.backend.port},
                        {"connections", c.connections}});
    }
    list.push_back({{"node", l.node},
                    {"address", l.address},
                    {"version", l.version},
                    {"connected", l.connected},
                    {"tls", l.tls},
                    {"takes_state", l.takes_state},
                    {"since", format_iso8601(l.since)},
                    {"applied_epoch", l.applied ? Json(l.applied->epoch) : Json(nullptr)},
                    {"applied_sequence", l.applied ? Json(l.applied->sequence) : Json(nullptr)},
                    {"behind", l.behind},
                    {"lag_seconds", l.lag ? Json(in_seconds(*l.lag)) : Json(nullptr)},
                    {"connections", total},
                    {"backends", std::move(counts)}});
    if (l.counts_left_out > 0) list.back()["backends_left_out"] = l.counts_left_out;
  }
  return {{"listeners", std::move(list)}};
}

Json order_keys_json(std::span<const OrderKeys::View> keys) {
  Json list = Json::array();
  for (const OrderKeys::View& view : keys)
    list.push_back({{"key", view.key},
                    {"updater", view.updater},
                    {"trust", to_string(view.kind)},
                    {"since", view.since ? Json(format_iso8601(*view.since)) : Json()}});
  return {{"keys", std::move(list)}};
}

Json fleet_json(const relay::FleetProgress& progress) {
  Json list = Json::array();
  for (const relay::FleetProgress::Listener& l : progress.listeners)
    list.push_back({{"node", l.node},
                    {"connected", l.connected},
                    {"programmed", l.programmed},
                    {"ended", l.ended},
                    {"connections", l.connections},
                    {"why", l.why}});
  return {{"id", progress.order.id},
          {"time", format_iso8601(progress.order.time)},
          {"target", progress.order.target},
          {"service", progress.order.service},
          {"connections", progress.connections},
          {"drained", progress.drained},
          {"listeners", std::move(list)}};
}

Json accepted_json(const Accepted& accepted) {
  return {{"source", accepted.source}, {"removed", accepted.removed}};
}

Json error_json(std::string_view message, std::span<const std::string> near) {
  Json out = {{"error", message}};
  if (!near.empty()) out["near"] = std::vector<std::string>(near.begin(), near.end());
  return out;
}

std::string dump(Json json) { return dump_printable(std::move(json)); }

std::string_view to_string(Outcome outcome) {
  constexpr std::array<std::string_view, 3> kNames{"direct", "balanced", "refused"};
  return kNames.at(static_cast<std::size_t>(outcome));
}

}  // namespace lb
