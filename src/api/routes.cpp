#include "api/routes.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "api/filter.h"
#include "api/json.h"
#include "api/render.h"
#include "base/audit.h"
#include "base/foreign_json.h"

namespace lb {
namespace {

int status_of(const Error& error) {
  if (error.code == std::errc::no_such_file_or_directory) return 404;
  if (error.code == std::errc::invalid_argument) return 400;
  if (error.code == std::errc::file_exists || error.code == std::errc::device_or_resource_busy)
    return 409;
  if (error.code == std::errc::resource_unavailable_try_again) return 503;
  if (error.code == std::errc::not_supported || error.code == std::errc::operation_not_supported)
    return 501;
  return 500;
}

// These codes say only what the status says already; the others carry the kernel's reason.
ApiReply reply_of(const Error& error) {
  const int status = status_of(error);
  const bool words = status != 500 && !error.context.empty();
  return error_reply(status, words ? error.context : error.message());
}

ApiReply ok(Json json) { return {.status = 200, .body = dump(std::move(json)), .allow = {}}; }

template <class T, class ToJson>
ApiReply reply_of(const Result<T>& result, ToJson to_json) {
  return result ? ok(to_json(*result)) : reply_of(result.error());
}

// A drain that matched nothing: say what is similar to what was asked for.
asio::awaitable<ApiReply> unknown_target(Error error, DrainTarget what, Control& control) {
  const auto services = co_await control.list("");
  if (!services) co_return reply_of(error);
  std::vector<std::string> near;
  if (!what.service.empty()) near = nearest(what.service, service_names(*services));
  const bool service_is_known =
      std::find(near.begin(), near.end(), what.service) != near.end() || what.service.empty();
  if (service_is_known) near = nearest(what.target, drain_targets(*services));
  co_return ApiReply{.status = 404, .body = dump(error_json(error.context, near)), .allow = {}};
}

ApiReply not_allowed(const Caller& caller, Right missing) {
  if (missing == Right::All)
    return error_reply(403, fmt::format("{} may not say who is trusted: that is for root and lbd's "
                                        "user",
                                        caller.who));
  return error_reply(
      403, missing == Right::Drain
               ? fmt::format("{} may only read: who is to drain must be root, lbd's user, or a "
                             "member of the group that [api] group names",
                             caller.who)
               : fmt::format("{} has no right here: who is to read must be root, lbd's user, or a "
                             "member of a group that [api] group or read_group names",
                             caller.who));
}

std::string error_of(const ApiReply& reply) {
  const auto json = parse_json<Json>(reply.body);
  return json && json->is_object() && json->contains("error") && (*json)["error"].is_string()
             ? (*json)["error"].get<std::string>()
             : std::string();
}

std::string text_of(const DrainTarget& what) {
  return what.service.empty() ? what.target
                              : fmt::format("{} service={}", what.target, what.service);
}

// What of a call belongs into the audit; nullopt: it only looks.
template <class Call>
std::optional<Audit> act_of(const Call&) {
  return std::nullopt;
}
std::optional<Audit> make_act(std::string_view event, std::string what, const std::string& reason) {
  return Audit{.event = event, .who = {}, .from = "socket", .what = std::move(what), .why = reason};
}
std::optional<Audit> act_of(const DrainCall& call) {
  return make_act(call.request.terminate ? "drain-terminate" : "drain", text_of(call.request.what),
                  call.reason);
}
std::optional<Audit> act_of(const UndrainCall& call) {
  return make_act("undrain", text_of(call.what), call.reason);
}
std::optional<Audit> act_of(const AcceptCall& call) {
  return make_act("resync", "source=" + call.source, call.reason);
}
std::optional<Audit> act_of(const FleetDrainCall& call) {
  return make_act("fleet-drain", text_of(call.what), call.reason);
}
std::optional<Audit> act_of(const FleetUndrainCall& call) {
  return make_act("fleet-undrain", text_of(call.what), call.reason);
}

std::optional<Audit> act_of(const TrustCall& call) {
  return make_act(call.forget ? "order-key-forgotten" : "order-key-trusted", call.what,
                  call.reason);
}

// What each call does. Overloads of one name, so that std::visit finds the call that was forgotten.
class Handler {
 public:
  explicit Handler(Control& control) : control_(control) {}

  asio::awaitable<ApiReply> operator()(ListCall call) const {
    Result<std::vector<ServiceView>> services = co_await control_.list(call.filter);
    if (!services) co_return reply_of(services.error());
    ApiReply reply;
    reply.body = co_await render_services(*std::move(services));
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(StatusCall) const {
    const auto status = co_await control_.status();
    co_return reply_of(status, status_json);
  }

  asio::awaitable<ApiReply> operator()(SourcesCall) const {
    co_return reply_of(control_.sources(), [](const auto& list) { return sources_json(list); });
  }

  asio::awaitable<ApiReply> operator()(ExplainCall call) const {
    co_return reply_of(control_.explain(call.to), explanation_json);
  }

  asio::awaitable<ApiReply> operator()(DrainCall call) const {
    const DrainTarget what = call.request.what;
    const auto result = co_await control_.drain(std::move(call.request));
    ApiReply reply = co_await drained(result, what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(UndrainCall call) const {
    const DrainTarget what = call.what;
    const auto result = co_await control_.undrain(std::move(call.what));
    ApiReply reply = co_await drained(result, what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(ProgressCall call) const {
    const DrainTarget what = call.what;
    const auto result = control_.drain_progress(std::move(call.what));
    ApiReply reply = co_await drained(result, what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(AcceptCall call) const {
    const auto result = co_await control_.accept(std::move(call.source));
    co_return reply_of(result, accepted_json);
  }

  asio::awaitable<ApiReply> operator()(ListenersCall) const {
    co_return reply_of(control_.listeners(), [](const auto& list) { return listeners_json(list); });
  }

  asio::awaitable<ApiReply> operator()(FleetDrainCall call) const {
    const auto result = co_await control_.drain_fleet(call.what);
    ApiReply reply = co_await fleet(result, call.what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(FleetUndrainCall call) const {
    const auto result = co_await control_.undrain_fleet(call.what);
    ApiReply reply = co_await fleet(result, call.what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(FleetProgressCall call) const {
    const auto result = control_.fleet_progress(call.what);
    ApiReply reply = co_await fleet(result, call.what);
    co_return reply;
  }

  asio::awaitable<ApiReply> operator()(KeysCall) const {
    co_return ok(order_keys_json(control_.order_keys()));
  }

  asio::awaitable<ApiReply> operator()(TrustCall call) const {
    co_return reply_of(control_.trust(call.what, call.forget), [](const std::string& key) {
      return Json{{"key", key}};
    });
  }

 private:
  [[nodiscard]] asio::awaitable<ApiReply> fleet(const Result<relay::FleetProgress>& result,
                                                const DrainTarget& what) const {
    if (result) co_return ok(fleet_json(*result));
    ApiReply reply = co_await refused(result.error(), what);
    co_return reply;
  }

  [[nodiscard]] asio::awaitable<ApiReply> drained(const Result<std::vector<DrainedBackend>>& result,
                                                  const DrainTarget& what) const {
    if (result) co_return ok(drained_json(*result));
    ApiReply reply = co_await refused(result.error(), what);
    co_return reply;
  }

  [[nodiscard]] asio::awaitable<ApiReply> refused(const Error& error,
                                                  const DrainTarget& what) const {
    if (status_of(error) != 404) co_return reply_of(error);
    ApiReply reply = co_await unknown_target(error, what, control_);
    co_return reply;
  }

  Control& control_;
};

}  // namespace

asio::awaitable<ApiReply> handle(ApiRequest request, Control& control, Caller caller) {
  // A stranger hears nothing, not even what he may have misspelt.
  if (caller.right == Right::None) co_return not_allowed(caller, Right::Read);
  auto call = parse_call(request);
  if (!call) co_return std::move(call).error();
  std::optional<Audit> act = std::visit([](const auto& c) { return act_of(c); }, *call);
  if (act) act->who = caller.who;
  ApiReply reply;
  if (caller.right < right_for(*call)) {
    reply = not_allowed(caller, right_for(*call));
  } else {
    const Handler handler(control);
    // Named: the awaitable must live until it has been awaited.
    asio::awaitable<ApiReply> answer = std::visit(handler, *std::move(call));
    reply = co_await std::move(answer);
  }
  if (act) {
    if (reply.status != 200) act->result = fmt::format("{} {}", reply.status, error_of(reply));
    write_audit(*act);
  }
  co_return reply;
}

}  // namespace lb
