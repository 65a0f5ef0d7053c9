#include "api/request.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/foreign_json.h"

namespace lb {
namespace {

using Query = std::map<std::string, std::string>;

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
      const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
      if (!low) return fail(fmt::format("'%' in '{}' is not followed by two hex digits", text));
      out += static_cast<char>(*high << 4 | *low);
      i += 2;
    }
  }
  return out;
}

// Unknown and repeated parameters are errors: a misspelt filter must not list everything.
Result<Query> parse_query(std::string_view text, std::initializer_list<std::string_view> known) {
  Query out;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    LB_TRY(std::string name, percent_decode(pair.substr(0, equals)));
    LB_TRY(std::string value, percent_decode(pair.substr(std::min(equals + 1, pair.size()))));
    if (std::find(known.begin(), known.end(), name) == known.end())
      return fail(fmt::format("no parameter '{}'; there is {}", name, fmt::join(known, ", ")));
    if (!out.emplace(name, value).second)
      return fail(fmt::format("parameter '{}' is given twice", name));
  }
  return out;
}

std::string get(const Query& query, const std::string& name) {
  const auto it = query.find(name);
  return it == query.end() ? std::string() : it->second;
}

// --- bodies

// An object with no keys but `known`; the only place that may see nlohmann throw is parse().
Result<Json> parse_object(const std::string& body, std::initializer_list<std::string_view> known) {
  auto parsed = parse_json<Json>(body);
  if (!parsed || !parsed->is_object()) return fail("the body must be a JSON object");
  Json json = *std::move(parsed);
  for (const auto& [key, value] : json.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return fail(fmt::format("no field '{}'; there is {}", key, fmt::join(known, ", ")));
  return json;
}

Result<std::string> text_field(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return std::string();
  if (!it->is_string()) return fail(fmt::format("field '{}' must be a string", name));
  return it->get<std::string>();
}

Result<DrainRequest> parse_drain(const Json& json) {
  DrainRequest out;
  LB_TRY(out.what.target, text_field(json, "target"));
  LB_TRY(out.what.service, text_field(json, "service"));
  LB_TRY(std::string after, text_field(json, "terminate_after"));
  if (out.what.target.empty()) return fail("field 'target' must name ADDR:PORT or a host");
  if (const auto it = json.find("terminate"); it != json.end()) {
    if (!it->is_boolean()) return fail("field 'terminate' must be true or false");
    out.terminate = it->get<bool>();
  }
  if (!after.empty()) {
    if (!out.terminate) return fail("'terminate_after' needs \"terminate\": true");
    LB_TRY(out.terminate_after, parse_duration(after));
  }
  return out;
}

// --- one function per path and method

using Parsed = Result<ApiCall>;

Parsed list_call(std::string_view query, const std::string&) {
  LB_TRY(Query values, parse_query(query, {"filter"}));
  return ListCall{get(values, "filter")};
}

Parsed status_call(std::string_view query, const std::string&) {
  LB_CHECK(parse_query(query, {}));
  return StatusCall{};
}

Parsed sources_call(std::string_view query, const std::string&) {
  LB_CHECK(parse_query(query, {}));
  return SourcesCall{};
}

Parsed explain_call(std::string_view query, const std::string&) {
  LB_TRY(Query values, parse_query(query, {"to"}));
  LB_TRY(ServiceKey to, ServiceKey::parse(get(values, "to")));
  return ExplainCall{to};
}

Result<DrainTarget> target_in(const Query& values) {
  DrainTarget out{get(values, "target"), get(values, "service")};
  if (out.target.empty()) return fail("parameter 'target' must name ADDR:PORT or a host");
  return out;
}

// Of what ends a drain.
template <class Call>
Result<Call> undrain_of(std::string_view query) {
  LB_TRY(Query values, parse_query(query, {"target", "service", "reason"}));
  LB_TRY(DrainTarget what, target_in(values));
  return Call{std::move(what), get(values, "reason")};
}

Result<DrainTarget> target_of(std::string_view query) {
  LB_TRY(Query values, parse_query(query, {"target", "service"}));
  return target_in(values);
}

Parsed progress_call(std::string_view query, const std::string&) {
  LB_TRY(DrainTarget what, target_of(query));
  return ProgressCall{std::move(what)};
}

Parsed undrain_call(std::string_view query, const std::string&) {
  LB_TRY(UndrainCall call, undrain_of<UndrainCall>(query));
  return call;
}

Parsed drain_call(std::string_view query, const std::string& body) {
  LB_CHECK(parse_query(query, {}));
  LB_TRY(Json json,
         parse_object(body, {"target", "service", "terminate", "terminate_after", "reason"}));
  LB_TRY(DrainRequest request, parse_drain(json));
  LB_TRY(std::string reason, text_field(json, "reason"));
  return DrainCall{std::move(request), std::move(reason)};
}

Parsed listeners_call(std::string_view query, const std::string&) {
  LB_CHECK(parse_query(query, {}));
  return ListenersCall{};
}

Parsed fleet_progress_call(std::string_view query, const std::string&) {
  LB_TRY(DrainTarget what, target_of(query));
  return FleetProgressCall{std::move(what)};
}

Parsed fleet_undrain_call(std::string_view query, const std::string&) {
  LB_TRY(FleetUndrainCall call, undrain_of<FleetUndrainCall>(query));
  return call;
}

Parsed fleet_drain_call(std::string_view query, const std::string& body) {
  LB_CHECK(parse_query(query, {}));
  LB_TRY(Json json, parse_object(body, {"target", "service", "reason"}));
  DrainTarget what;
  LB_TRY(std::string reason, text_field(json, "reason"));
  LB_TRY(what.target, text_field(json, "target"));
  LB_TRY(what.service, text_field(json, "service"));
  if (what.target.empty()) return fail("field 'target' must name ADDR:PORT or a host");
  return FleetDrainCall{std::move(what), std::move(reason)};
}

Parsed accept_call(std::string_view query, const std::string& body) {
  LB_CHECK(parse_query(query, {}));
  LB_TRY(Json json, parse_object(body, {"accept", "reason"}));
  LB_TRY(std::string source, text_field(json, "accept"));
  LB_TRY(std::string reason, text_field(json, "reason"));
  if (source.empty()) return fail("field 'accept' must name a source");
  return AcceptCall{std::move(source), std::move(reason)};
}

Parsed keys_call(std::string_view query, const std::string&) {
  LB_CHECK(parse_query(query, {}));
  return KeysCall{};
}

Parsed trust_call(std::string_view query, const std::string& body) {
  LB_CHECK(parse_query(query, {}));
  LB_TRY(Json json, parse_object(body, {"trust", "forget", "reason"}));
  TrustCall call;
  LB_TRY(call.what, text_field(json, "trust"));
  LB_TRY(call.reason, text_field(json, "reason"));
  if (call.what.empty()) {
    call.forget = true;
    LB_TRY(call.what, text_field(json, "forget"));
  } else if (json.contains("forget")) {
    return fail("fields 'trust' and 'forget' cannot be there both");
  }
  if (call.what.empty()) return fail("field 'trust' must name an updater or a key");
  return call;
}

struct Route {
  std::string_view path;
  std::string_view method;
  Parsed (*parse)(std::string_view query, const std::string& body);
};
constexpr std::array<Route, 14> kRoutes{{
    {"/v1/services", "GET", list_call},
    {"/v1/status", "GET", status_call},
    {"/v1/sources", "GET", sources_call},
    {"/v1/explain", "GET", explain_call},
    {"/v1/drains", "GET", progress_call},
    {"/v1/drains", "POST", drain_call},
    {"/v1/drains", "DELETE", undrain_call},
    {"/v1/resync", "POST", accept_call},
    {"/v1/listeners", "GET", listeners_call},
    {"/v1/fleet/drains", "GET", fleet_progress_call},
    {"/v1/fleet/drains", "POST", fleet_drain_call},
    {"/v1/fleet/drains", "DELETE", fleet_undrain_call},
    {"/v1/trust", "GET", keys_call},
    {"/v1/trust", "POST", trust_call},
}};

}  // namespace

ApiReply error_reply(int status, std::string_view message) {
  return {.status = status, .body = dump(error_json(message)), .allow = {}};
}

Right right_for(const ApiCall& call) {
  if (std::holds_alternative<TrustCall>(call)) return Right::All;
  const bool writes =
      std::holds_alternative<DrainCall>(call) || std::holds_alternative<UndrainCall>(call) ||
      std::holds_alternative<AcceptCall>(call) || std::holds_alternative<FleetDrainCall>(call) ||
      std::holds_alternative<FleetUndrainCall>(call);
  return writes ? Right::Drain : Right::Read;
}

tl::expected<ApiCall, ApiReply> parse_call(const ApiRequest& request) {
  const std::string_view target = request.target;
  const auto question = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, question);
  const std::string_view query = target.substr(std::min(question + 1, target.size()));

  std::string allow;
  for (const Route& route : kRoutes) {
    if (route.path != path) continue;
    if (route.method == request.method) {
      Parsed call = route.parse(query, request.body);
      if (!call) return tl::unexpected(error_reply(400, call.error().message()));
      return *std::move(call);
    }
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ", route.method);
  }
  if (allow.empty()) return tl::unexpected(error_reply(404, fmt::format("no such path: {}", path)));
  ApiReply reply = error_reply(405, fmt::format("{} allows {}", path, allow));
  reply.allow = allow;
  return tl::unexpected(std::move(reply));
}

}  // namespace lb
